//! The database that the texts of `tests/routing` speak of.
use pgherd_lab::lab::Lab;

const FIXTURE: &str = include_str!("../routing/fixture.sql");

/// What makes it on servers of a major version.
#[must_use]
pub fn fixture(major: u32) -> String {
    // A role that PostgreSQL 13 does not have, granted to one of which no text speaks.
    let lines = FIXTURE.lines().filter(|line| major >= 14 || !line.contains("pg_read_all_data"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Builds it in an empty database of a lab.
///
/// # Errors
/// [`pgherd_lab::error::LabError::Program`] with the server's message.
pub async fn build(lab: &Lab, database: &str) -> Result<(), pgherd_lab::error::LabError> {
    lab.primary().sql(database, &fixture(lab.binaries().major())).await.map(drop)
}

/// Builds it once more, in another database of the same lab: roles are there already.
///
/// # Errors
/// As [`build`].
pub async fn build_again(lab: &Lab, database: &str) -> Result<(), pgherd_lab::error::LabError> {
    let again = fixture(lab.binaries().major()).replace("CREATE ROLE", "ALTER ROLE");
    lab.primary().sql(database, &again).await.map(drop)
}
