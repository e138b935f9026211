//! Numbers that do not go together.

use super::about;
use crate::config::fault::{Code, Report};
use crate::config::unit::show_duration;
use crate::config::values::{Instance, Values};
use std::time::Duration;

fn number(instance: &Instance, key: &str) -> Option<u32> {
    instance.find::<Option<u32>>(key).flatten()
}

/// Minimum above maximum, and limits that can never be reached.
pub(super) fn pools(values: &Values, report: &mut Report) {
    let pool = values.single("pool");
    for section in ["pool", "node", "user", "database"] {
        for instance in values.each(section) {
            let (min, max) = (number(instance, "min_pool_size"), number(instance, "max_pool_size"));
            if let (Some(min), Some(max)) = (min, max)
                && min > max
            {
                let key = if instance.said("min_pool_size") { "min_pool_size" } else { "max_pool_size" };
                let text = format!("min_pool_size {min} > max_pool_size {max} in {}", instance.title());
                report.faults.push(about(instance, key, Code::Contradiction, text));
            }
        }
    }
    let limits = values.each("node").chain([pool]).filter(|instance| instance.said("max_node_connections"));
    for instance in limits {
        let size = number(instance, "max_pool_size").or(number(pool, "max_pool_size"));
        if let (Some(limit), Some(size)) = (number(instance, "max_node_connections"), size)
            && limit < size
        {
            let text =
                format!("max_node_connections {limit} < max_pool_size {size}: no pool can grow to its size");
            report.faults.push(about(instance, "max_node_connections", Code::Doubtful, text));
        }
    }
    let (all, clients) = (number(pool, "max_server_connections"), number(pool, "max_pool_size"));
    if let (Some(all), Some(size)) = (all, clients)
        && all < size
    {
        let text =
            format!("max_server_connections {all} < max_pool_size {size}: no pool can grow to its size");
        report.faults.push(about(pool, "max_server_connections", Code::Doubtful, text));
    }
}

fn time(instance: &Instance, key: &str) -> Option<Duration> {
    instance.find::<Option<Duration>>(key).flatten()
}

/// Times that must stand in a certain order.
pub(super) fn times(values: &Values, report: &mut Report) {
    let health = values.single("health");
    if let (Some(fast), Some(slow)) =
        (time(health, "fast_check_interval"), time(health, "health_check_interval"))
        && fast > slow
    {
        let text = format!(
            "fast_check_interval {} is longer than health_check_interval {}",
            show_duration(fast),
            show_duration(slow)
        );
        let key =
            if health.said("fast_check_interval") { "fast_check_interval" } else { "health_check_interval" };
        report.faults.push(about(health, key, Code::Doubtful, text));
    }
    if let Some(sizes) = health.find::<Vec<u64>>("lag_alert_bytes")
        && sizes.windows(2).any(|pair| pair[0] >= pair[1])
    {
        let text = "lag_alert_bytes must rise: warning, critical, emergency";
        report.faults.push(about(health, "lag_alert_bytes", Code::Contradiction, text));
    }
    lease(values, report);
    let pool = values.single("pool");
    if let (Some(notice), Some(limit)) = (time(pool, "wait_notice_after"), time(pool, "query_wait_timeout"))
        && notice > limit
        && pool.said("wait_notice_after")
    {
        let text = "wait_notice_after is longer than query_wait_timeout: nobody will see the notice";
        report.faults.push(about(pool, "wait_notice_after", Code::Doubtful, text));
    }
}

/// Patroni's rule between the three times of the lease.
fn lease(values: &Values, report: &mut Report) {
    let failover = values.single("failover");
    let [Some(ttl), Some(wait), Some(retry)] =
        ["ttl", "loop_wait", "retry_timeout"].map(|key| time(failover, key))
    else {
        return;
    };
    let least = wait + 2 * retry;
    if ttl < least {
        let text = format!(
            "ttl {} < loop_wait {} + 2 x retry_timeout {} ({}): a slow retry could cost the lease",
            show_duration(ttl),
            show_duration(wait),
            show_duration(retry),
            show_seconds(least)
        );
        let key =
            ["ttl", "loop_wait", "retry_timeout"].into_iter().find(|key| failover.said(key)).unwrap_or("ttl");
        report.faults.push(about(failover, key, Code::ShortLease, text));
    }
}

fn show_seconds(time: Duration) -> String {
    format!("{}s", time.as_secs_f64())
}
