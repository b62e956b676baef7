use super::*;

#[test]
fn a_target_is_judged_by_its_text_before_anything_is_sent() {
    let egress = Egress::new("10.0.0.0/8".parse().unwrap()).unwrap();
    let plain = |host: &str| Err(Refused::Plain(host.to_owned()));
    let private = |host: &str| Err(Refused::NotPublic(host.to_owned()));
    let cases = [
        ("https://erp.example/x", Ok(Wire::Tls)),
        ("http://erp.example/x", Ok(Wire::Plain)),
        ("https://8.8.8.8/", Ok(Wire::Tls)),
        ("http://8.8.8.8/", plain("8.8.8.8")),
        ("http://10.1.2.3/", Ok(Wire::Plain)),
        ("https://012.1.2.3/", Ok(Wire::Tls)),
        ("https://192.168.0.1/", private("192.168.0.1")),
        ("https://2130706433/", private("127.0.0.1")),
        ("https://user@0x7f.1/", private("127.0.0.1")),
        ("https://[::ffff:10.0.0.1]/", Ok(Wire::Tls)),
        ("https://[::ffff:192.168.0.1]/", private("[::ffff:c0a8:1]")),
        ("https://[64:ff9b::a9fe:a9fe]/", private("[64:ff9b::a9fe:a9fe]")),
        ("ftp://erp.example/", Err(Refused::Scheme("ftp".to_owned()))),
        ("file:///etc/passwd", Err(Refused::Scheme("file".to_owned()))),
    ];
    for (target, expected) in cases {
        assert_eq!(egress.route(&target.parse().unwrap()), expected, "{target}");
    }
}
