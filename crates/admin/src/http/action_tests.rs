use super::*;

#[test]
fn a_switchover_is_for_those_who_may_and_takes_its_time() {
    visited(whole_cluster(), async |address, _| {
        let post = |headers: &str, body: &str| {
            let length = body.len();
            format!("POST /switchover HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
        };
        let good = "Authorization: Basic YWRtaW46YTpi\r\n";
        let body = r#"{"leader": "pg1", "candidate": "pg2"}"#;
        let (status, head, words) = exchange(address, &post("", body)).await;
        assert_eq!((status, &*words), (401, "no auth header received"));
        assert!(head.contains("www-authenticate: basic realm="), "{head}");
        let (status, _, words) = exchange(address, &post("Authorization: Basic eDp5\r\n", body)).await;
        assert_eq!((status, &*words), (401, "not authenticated"));
        let (status, _, _) = exchange(address, &post(&format!("{good}Origin: http://evil\r\n"), body)).await;
        assert_eq!(status, 403);
        let (status, _, _) = exchange(address, &post(good, "{}")).await;
        assert_eq!(status, 400);
        let (status, _, words) = exchange(address, &post(good, body)).await;
        assert_eq!((status, &*words), (200, "Successfully switched over to \"pg2\""));
    });
}
