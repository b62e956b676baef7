use super::*;

fn loaded(toml: &str, env: &[(&str, &str)], flags: &Flags) -> Result<Loaded, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tidegate.toml");
    std::fs::write(&file, toml).unwrap();
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    load(&Config::default(), Some(&file), env, flags).map_err(|e| e.to_string())
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let toml = "listen = '127.0.0.1:1'\n[kafka]\nbrokers = 'file:1'\ntopic_prefix = 'file'";
    let env = [("KAFKA_BROKERS", "env:2"), ("TIDEGATE_LISTEN", "127.0.0.1:2")];
    let flags = Flags::from([("listen", "127.0.0.1:3".to_owned())]);
    let config = loaded(toml, &env, &flags).unwrap().config;
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.kafka.brokers, "env:2");
    assert_eq!(config.kafka.topic_prefix, "file");
}

#[test]
fn the_stronger_of_two_names_for_the_brokers_wins() {
    let env = [("KAFKA_BROKERS", "a:1"), ("KAFKA_BOOTSTRAP_SERVERS", "b:1")];
    assert_eq!(loaded("", &env, &Flags::new()).unwrap().config.kafka.brokers, "a:1");
}

#[test]
fn an_unknown_key_in_the_file_is_an_error_that_says_what_was_meant() {
    let error = loaded("[kafka]\nbroker = 'a:1'", &[], &Flags::new()).err().unwrap();
    assert!(error.contains("unknown key `broker`") && error.contains("did you mean `brokers`"), "{error}");
    let error = loaded("admin_kee = 'x'", &[], &Flags::new()).err().unwrap();
    assert!(error.contains("did you mean `admin_key`"), "{error}");
}

#[test]
fn a_secret_of_the_wrong_type_is_not_shown() {
    for toml in ["admin_key = 87654321", "secret_key = 87654321", "[kafka.properties]\n'sasl.password' = 87654321"] {
        let error = loaded(toml, &[], &Flags::new()).err().unwrap();
        assert!(error.contains("string") && !error.contains("87654321"), "{error}");
    }
}

#[test]
fn an_unknown_variable_warns_and_no_more() {
    let env = [("TIDEGATE_SERVICE_PORT", "8080"), ("TIDEGATE_LISTN", "x")];
    let warnings = loaded("", &env, &Flags::new()).unwrap().warnings;
    assert_eq!(warnings.len(), 2);
    assert!(warnings.iter().any(|w| w.contains("TIDEGATE_LISTN") && w.contains("TIDEGATE_LISTEN")), "{warnings:?}");
}

#[test]
fn properties_of_the_client_pass_through_from_file_and_environment() {
    let toml = "[kafka.properties]\n'security.protocol' = 'sasl_ssl'";
    let env = [("TIDEGATE_KAFKA__PROPERTIES__SASL_MECHANISM", "PLAIN")];
    let properties = loaded(toml, &env, &Flags::new()).unwrap().config.kafka.properties;
    assert_eq!(properties.get("security.protocol").map(String::as_str), Some("sasl_ssl"));
    assert_eq!(properties.get("sasl.mechanism").map(String::as_str), Some("PLAIN"));
}

#[test]
fn bad_values_are_refused_with_their_name() {
    let cases = [
        (("KAFKA_TOPIC_PREFIX", "a b"), "KAFKA_TOPIC_PREFIX"),
        (("KAFKA_BROKERS", ","), "KAFKA_BROKERS"),
        (("TIDEGATE_INSTANCE", "a/b"), "TIDEGATE_INSTANCE"),
        (("TIDEGATE_ADMIN_KEY", "short"), "TIDEGATE_ADMIN_KEY"),
        (("TIDEGATE_ADMIN_EMAIL", "nobody"), "TIDEGATE_ADMIN_EMAIL"),
        (("TIDEGATE_ADMIN_PASSWORD", "too short"), "TIDEGATE_ADMIN_PASSWORD"),
        (("TIDEGATE_TRUSTED_PROXIES", "10.0.0.0/8,proxy"), "TIDEGATE_TRUSTED_PROXIES"),
        (("TIDEGATE_CORS_ORIGINS", "*"), "TIDEGATE_CORS_ORIGINS"),
        (("TIDEGATE_CORS_ORIGINS", "https://x.example/page"), "TIDEGATE_CORS_ORIGINS"),
        (("TIDEGATE_LIMITS__ORG_PER_MINUTE", "many"), "TIDEGATE_LIMITS__ORG_PER_MINUTE"),
        (("TIDEGATE_LISTEN", "nowhere"), "TIDEGATE_LISTEN"),
        (("TIDEGATE_ENGINE", "pulsar"), "TIDEGATE_ENGINE"),
        (("KAFKA_ENABLED", "perhaps"), "KAFKA_ENABLED"),
        (("TIDEGATE_LOG_FORMAT", "xml"), "TIDEGATE_LOG_FORMAT"),
    ];
    for (variable, name) in cases {
        let error = loaded("", &[variable], &Flags::new()).err().unwrap();
        assert!(error.contains(name), "{variable:?}: {error}");
    }
}

#[test]
fn what_was_typed_as_a_flag_is_not_called_a_variable() {
    for (key, bad, flag) in [("kafka.topic_prefix", "a b", "--prefix"), ("kafka.brokers", ",", "--kafka")] {
        let error = loaded("", &[], &Flags::from([(key, bad.to_owned())])).err().unwrap();
        assert!(error.starts_with(flag), "{error}");
    }
}

#[test]
fn kafka_enabled_names_the_engine_and_a_contradiction_is_refused() {
    let engine = |env: &[(&str, &str)]| loaded("", env, &Flags::new()).map(|loaded| loaded.config.engine);
    for (enabled, meant) in [("false", Engine::Embedded), ("0", Engine::Embedded), ("True", Engine::Kafka)] {
        assert_eq!(engine(&[("KAFKA_ENABLED", enabled)]), Ok(meant), "{enabled}");
    }
    assert_eq!(engine(&[("TIDEGATE_ENGINE", "embedded")]), Ok(Engine::Embedded));
    for (enabled, named) in [("false", "kafka"), ("true", "embedded")] {
        let error = engine(&[("KAFKA_ENABLED", enabled), ("TIDEGATE_ENGINE", named)]).unwrap_err();
        assert!(error.contains("KAFKA_ENABLED") && error.contains(named), "{error}");
    }
}

#[test]
fn a_list_in_the_environment_is_split_at_commas() {
    let env = [("TIDEGATE_EGRESS_ALLOW", "127.0.0.0/8, ::1/128,")];
    let config = loaded("", &env, &Flags::new()).unwrap().config;
    assert_eq!(config.egress.allow, ["127.0.0.0/8", "::1/128"]);
}

#[test]
fn who_may_ask_from_where_and_how_often_is_read_from_the_environment() {
    let env = [
        ("TIDEGATE_TRUSTED_PROXIES", "10.1.2.3/8, ::1"),
        ("TIDEGATE_CORS_ORIGINS", "https://Console.example:443/,http://localhost:3000"),
        ("TIDEGATE_LIMITS__ORG_PER_MINUTE", "0"),
        ("TIDEGATE_ADMIN_PASSWORD", "123456789012"),
    ];
    let config = loaded("", &env, &Flags::new()).unwrap().config;
    let proxies: Vec<String> = config.http.proxies().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(config.http.origins().unwrap(), ["https://console.example", "http://localhost:3000"]);
    assert_eq!((config.limits.org_per_minute, config.limits.publish_per_second), (0, 10_000));
    assert_eq!(config.admin_password.as_deref(), Some("123456789012"), "digits are a password too");
}

#[test]
fn an_address_may_be_a_name_and_a_wrong_one_is_shown_with_an_example() {
    let listen = |address: &str| {
        let flags = Flags::from([("listen", address.to_owned())]);
        loaded("", &[], &flags).map(|loaded| loaded.config.listen.to_string())
    };
    assert_eq!(listen("localhost:8081").as_deref(), Ok("127.0.0.1:8081"));
    assert_eq!(listen("[::1]:8081").as_deref(), Ok("[::1]:8081"));
    for wrong in ["nowhere", "8080", ":8080", "localhost:http", "localhost:99999", "::1:8080", "a b:80"] {
        let error = listen(wrong).unwrap_err();
        for said in ["--listen: ", &format!("`{wrong}`"), "127.0.0.1:8080"] {
            assert!(error.contains(said), "{wrong} does not say {said}: {error}");
        }
    }
}

#[test]
fn a_setting_is_shown_with_the_place_it_came_from_and_a_secret_is_not_shown() {
    let toml =
        "secret_key = 'in-the-file'\n[kafka]\ntopic_prefix = 'file'\n[kafka.properties]\n'sasl.password' = 'hunter22'";
    let env = [
        ("KAFKA_BOOTSTRAP_SERVERS", "weak:1"),
        ("KAFKA_BROKERS", "env:2"),
        ("TIDEGATE_ADMIN_KEY", "from-the-environment"),
        ("TIDEGATE_KAFKA__PROPERTIES__SASL_USERNAME", "ada"),
        ("TIDEGATE_KAFKA__PROPERTIES__SSL_KEY_PEM", "hunter22"),
        ("TIDEGATE_EGRESS_ALLOW", "::1/128,localhost"),
        ("KAFKA_ENABLED", "false"),
    ];
    let flags = Flags::from([("listen", "127.0.0.1:3".to_owned())]);
    let loaded = loaded(toml, &env, &flags).unwrap();
    let shown = |key: &str| {
        let setting = loaded.settings.iter().find(|s| s.key == key).unwrap_or_else(|| panic!("{key} is missing"));
        let from = match &setting.from {
            Origin::File(path) => format!("file {}", path.file_name().unwrap().display()),
            other => other.to_string(),
        };
        format!("{} < {from}", setting.value)
    };
    let cases = [
        ("engine", r#""embedded" < environment KAFKA_ENABLED"#),
        ("listen", r#""127.0.0.1:3" < flag"#),
        ("data_dir", r#"".tidegate" < default"#),
        ("instance", "null < default"),
        ("kafka.brokers", r#""env:2" < environment KAFKA_BROKERS"#),
        ("kafka.topic_prefix", r#""file" < file tidegate.toml"#),
        ("secret_key", r#""***" < file tidegate.toml"#),
        ("admin_key", r#""***" < environment TIDEGATE_ADMIN_KEY"#),
        (r#"kafka.properties."sasl.password""#, r#""***" < file tidegate.toml"#),
        (r#"kafka.properties."sasl.username""#, r#""ada" < environment TIDEGATE_KAFKA__PROPERTIES__SASL_USERNAME"#),
        (r#"kafka.properties."ssl.key.pem""#, r#""***" < environment TIDEGATE_KAFKA__PROPERTIES__SSL_KEY_PEM"#),
        ("egress.allow", r#"["::1/128","localhost"] < environment TIDEGATE_EGRESS_ALLOW"#),
    ];
    for (key, expected) in cases {
        assert_eq!(shown(key), expected, "{key}");
    }
    assert!(loaded.is_default("data_dir") && !loaded.is_default("engine") && !loaded.is_default("kafka.brokers"));
    assert!(!format!("{:?}", loaded.settings).contains("hunter22"));
}

#[test]
fn a_variable_of_the_command_line_is_not_taken_for_a_mistyped_one() {
    assert!(loaded("", &[("TIDEGATE_API", "http://x")], &Flags::new()).unwrap().warnings.is_empty());
}
