use super::*;

fn load(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Settings, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bugstream.toml");
    std::fs::write(&path, file).unwrap();
    let flags: Vec<_> = flags.iter().map(|(path, text)| (*path, (*text).to_owned())).collect();
    let env = |name: &str| {
        environment
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| (*v).to_owned())
    };
    Settings::load(Some(&path), env, &flags)
}

#[test]
fn flags_beat_environment_and_environment_beats_the_file() {
    let file = "[nats]\nurl = 'nats://file:4222'";
    let url = |env, flags| Nats::read(&load(file, env, flags).unwrap()).unwrap().url;
    assert_eq!(url(&[], &[]), "nats://file:4222");
    assert_eq!(url(&[("NATS_URL", "nats://env:4222")], &[]), "nats://env:4222");
    assert_eq!(
        url(&[("NATS_URL", "nats://env:4222")], &[("nats.url", "nats://flag:4222")]),
        "nats://flag:4222"
    );
    assert_eq!(
        url(&[("NATS_URL", "")], &[]),
        "nats://file:4222",
        "an empty variable is as good as none"
    );
}

#[test]
fn an_error_names_where_the_value_came_from_and_what_to_write() {
    let error = |env, file| {
        Elasticsearch::read(&load(file, env, &[]).unwrap())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(&[("ELASTIC_NODE", "localhost:9200")], ""),
        "ELASTIC_NODE is not a URL: \"localhost:9200\"\n  write http://localhost:9200 (environment variable \
         ELASTIC_NODE, or [elasticsearch] node in bugstream.toml)"
    );
    assert!(error(&[], "[elasticsearch]\nnode = '::'").starts_with("[elasticsearch] node is not a URL"));
}

#[test]
fn unknown_sections_and_keys_are_refused() {
    let unknown = load("[natz]\nurl = 'x'", &[], &[]).unwrap_err();
    assert!(
        unknown.problem.contains("\"natz\"") && unknown.fix.contains("nats"),
        "{unknown}"
    );
    let key = Nats::read(&load("[nats]\nurk = 'x'", &[], &[]).unwrap()).unwrap_err();
    assert!(key.problem.contains("unknown field `urk`"), "{key}");
    let broken = load("[nats\n", &[], &[]).unwrap_err();
    assert!(broken.problem.contains("line 1"), "{broken}");
}

#[test]
fn the_old_systems_names_describe_the_first_repository() {
    let file = "[[repositories]]\nname = 'a/b'\n[[repositories]]\nname = 'c/d.e'\nprivate = 'c/p'";
    let env = [
        ("GITHUB_ORG", "WebCompat"),
        ("GITHUB_REPO_PUBLIC", "web-bugs"),
        ("GITHUB_REPO_PRIVATE", "web-bugs-private"),
    ];
    let both = Repositories::read(&load(file, &env, &[]).unwrap()).unwrap();
    assert_eq!(both.0.len(), 2);
    assert_eq!(both.first().name.to_string(), "webcompat/web-bugs");
    assert_eq!(
        both.first().private.as_ref().unwrap().to_string(),
        "webcompat/web-bugs-private"
    );
    assert_eq!(both.0[1].private.as_ref().unwrap().to_string(), "c/p");
    let from_file = Repositories::read(&load(file, &[], &[]).unwrap()).unwrap();
    assert_eq!(from_file.first().name.to_string(), "a/b");
    let none = Repositories::read(&load("", &[], &[]).unwrap()).unwrap_err();
    assert!(none.problem.contains("no repository is configured"), "{none}");
    let no_org = Repositories::read(&load("", &[("GITHUB_REPO_PUBLIC", "b")], &[]).unwrap()).unwrap_err();
    assert!(no_org.fix.contains("GITHUB_ORG"), "{no_org}");
}

#[test]
fn secrets_are_never_printed() {
    let file = "[nats]\nurl = 'nats://user:hunter2@host:4222'\n[elasticsearch]\nusername = 'u'\npassword = 'hunter2'";
    let env = [
        ("GITHUB_PERSONAL_ACCESS_TOKEN", "hunter2"),
        ("GITHUB_WEBHOOK_SECRET", "hunter2,other"),
    ];
    let settings = load(file, &env, &[]).unwrap();
    assert!(!settings.redacted().contains("hunter2"), "{}", settings.redacted());
    let bucket = load(
        "",
        &[("AWS_SECRET_ACCESS_KEY", "hunter2")],
        &[("object_store.url", "s3://b")],
    )
    .unwrap();
    assert!(!bucket.redacted().contains("hunter2"), "{}", bucket.redacted());
    let half = ObjectStore::read(&bucket).unwrap_err().to_string();
    assert!(
        half.starts_with("AWS_SECRET_ACCESS_KEY is one half of a key") && !half.contains("hunter2"),
        "{half}"
    );
    assert!(!format!("{:?}", Github::read(&settings).unwrap()).contains("hunter2"));
    let malformed = load("", &[("GITHUB_PERSONAL_ACCESS_TOKEN", "hunter2 \n")], &[]).unwrap();
    assert!(!Github::read(&malformed).unwrap_err().to_string().contains("hunter2"));
    let nats = load("[nats]\nurl = 'http://user:hunter2@host'", &[], &[]).unwrap();
    assert!(!Nats::read(&nats).unwrap_err().to_string().contains("hunter2"));
}

#[test]
fn malformed_servers_are_refused_with_the_fix() {
    for url in ["localhost:4222", "http://localhost", "nats://", ""] {
        let error = Nats::read(&load(&format!("[nats]\nurl = '{url}'"), &[], &[]).unwrap()).unwrap_err();
        assert!(error.fix.contains("nats://host:4222"), "{url}: {error}");
    }
    for url in ["ftp://x/y", "s3://", "://"] {
        let error = ObjectStore::read(&load(&format!("[object_store]\nurl = '{url}'"), &[], &[]).unwrap()).unwrap_err();
        assert!(error.fix.contains("s3://bucket/prefix"), "{url}: {error}");
    }
    let endpoint = load(
        "[object_store]\nurl = 's3://b'",
        &[("AWS_ENDPOINT_URL", "127.0.0.1:9000")],
        &[],
    )
    .unwrap();
    let error = ObjectStore::read(&endpoint).unwrap_err();
    assert!(error.problem.starts_with("AWS_ENDPOINT_URL is not a URL") && error.fix.contains("http://127.0.0.1:9000"));
    let directory = ObjectStore::read(&load("[object_store]\nurl = '/var/x'", &[], &[]).unwrap()).unwrap();
    assert_eq!(directory.url.as_str(), "file:///var/x/");
    let number = load("", &[("BUG_INACTIVITY_DELAY", "5m")], &[]).unwrap_err();
    assert!(
        number.problem.starts_with("BUG_INACTIVITY_DELAY is not a whole number"),
        "{number}"
    );
}

#[test]
fn every_key_lies_in_a_known_section_and_has_its_own_names() {
    let mut names = std::collections::BTreeSet::new();
    for key in KEYS {
        let (section, _) = key.path.split_once('.').expect("section.name");
        assert!(SECTIONS.contains(&section), "{}", key.path);
        assert!(
            names.insert(key.path) && key.env.is_none_or(|env| names.insert(env)),
            "{}",
            key.path
        );
    }
}
