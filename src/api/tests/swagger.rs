//! The document in a browser.

use super::*;

/// What a page refers to: `src="./x"` and `href="x"`.
fn referred(page: &str) -> Vec<String> {
    let parts = page.split(['"']).zip(page.split(['"']).skip(1));
    let of = |(before, value): (&str, &str)| {
        let refers = before.ends_with("src=") || before.ends_with("href=");
        refers.then(|| value.trim_start_matches("./").to_owned())
    };
    parts.filter_map(of).collect()
}

#[tokio::test]
async fn the_document_can_be_tried_in_a_browser_that_reaches_nothing_but_the_gateway() {
    let api = Api::start().await;
    for path in ["/swagger", "/swagger/"] {
        let answer = api.call("GET", path, &[], "").await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (308, "/swagger/index.html"));
    }
    let index = api.call("GET", "/swagger/index.html", &[], "").await;
    assert_eq!((index.status.as_u16(), index.header("content-type")), (200, "text/html"));
    let policy = index.header("content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("http"), "{policy}");
    assert!(!index.text.replace("<script src", "").contains("<script"), "a script within the page would not run");
    let files = referred(&index.text);
    assert!(files.len() >= 5, "{files:?}");
    for file in &files {
        let answer = api.call("GET", &format!("/swagger/{file}"), &[], "").await;
        assert_eq!(answer.status, 200, "{file}");
        assert_eq!(answer.header("content-security-policy"), policy, "{file}");
        let wanted = match file.rsplit('.').next() {
            Some("js") => "text/javascript",
            Some("css") => "text/css",
            _ => "image/png",
        };
        assert_eq!(answer.header("content-type"), wanted, "{file}: `nosniff` lets nothing else be used as one");
    }
    let begins = api.call("GET", "/swagger/swagger-initializer.js", &[], "").await.text;
    assert!(begins.contains("\"../openapi.json\"") && begins.contains("\"validatorUrl\": \"none\""), "{begins}");
    assert!(!begins.contains("petstore") && !begins.contains("{{"), "{begins}");
}

#[tokio::test]
async fn it_is_not_there_where_it_is_turned_off() {
    let api = Api::at(Some(KEY), true, Around { swagger_ui: false, ..Around::default() });
    api.state_loaded().await;
    for path in ["/swagger", "/swagger/index.html"] {
        assert_error(&api.get(path).await, 404, "NOT_FOUND");
    }
    assert_eq!(api.call("GET", "/openapi.json", &[], "").await.status, 200);
}
