use super::*;
use crate::secret::Secret;

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
fn elasticsearch_has_one_node_or_several_and_a_variable_beats_both() {
    let read = |file: &str, env: &[(&str, &str)]| Elasticsearch::read(&load(file, env, &[]).unwrap());
    let nodes = |file, env| read(file, env).unwrap().nodes().map(str::to_owned).collect::<Vec<_>>();
    let (a, b) = ("https://a:9200", "https://b:9200");
    assert_eq!(nodes("", &[]), ["http://127.0.0.1:9200"]);
    assert_eq!(nodes("[elasticsearch]\nnode = 'https://a:9200'", &[]), [a]);
    let several = "[elasticsearch]\nnodes = ['https://a:9200', 'https://b:9200']";
    assert_eq!(nodes(several, &[]), [a, b]);
    assert_eq!(nodes(several, &[("ELASTIC_NODE", "http://c:9200")]), ["http://c:9200"]);
    assert_eq!(nodes("", &[("ELASTIC_NODE", "https://a:9200, https://b:9200")]), [a, b]);
    let both = "[elasticsearch]\nnode = 'https://a:9200'\nnodes = ['https://b:9200']";
    let error = read(both, &[]).unwrap_err();
    assert!(error.problem.contains("node is set beside nodes"), "{error}");
    for wrong in ["https://a:9200,b", "https://a:9200,", "ftp://a"] {
        let error = read("", &[("ELASTIC_NODE", wrong)]).unwrap_err();
        assert!(error.problem.starts_with("ELASTIC_NODE is not a URL"), "{error}");
    }
    let hidden = load("[elasticsearch]\nnodes = ['https://u:hunter2@a:9200']", &[], &[]).unwrap();
    assert!(!hidden.redacted().contains("hunter2"), "{}", hidden.redacted());
}

#[test]
fn credentials_of_elasticsearch_that_cannot_work_name_the_key() {
    let error = |env: &[(&str, &str)]| {
        Elasticsearch::read(&load("", env, &[]).unwrap())
            .unwrap_err()
            .to_string()
    };
    let (user, password) = (("ELASTIC_USERNAME", "u"), ("ELASTIC_PASSWORD", "hunter2"));
    assert!(error(&[user]).starts_with("ELASTIC_USERNAME needs its password"));
    let two = error(&[user, password, ("ELASTIC_API_KEY", "aWQ6a2V5")]);
    assert!(two.starts_with("ELASTIC_API_KEY is set beside a username"), "{two}");
    let spaced = error(&[("ELASTIC_API_KEY", "hunter2 ä")]);
    assert!(spaced.starts_with("ELASTIC_API_KEY has characters that no key has") && !spaced.contains("hunter2"));
    assert!(error(&[("ELASTIC_CA_PATH", "/nowhere.pem")]).contains("ELASTIC_CA_PATH cannot be read"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, "not PEM").unwrap();
    let no_pem = error(&[("ELASTIC_CA_PATH", path.to_str().unwrap())]);
    assert!(no_pem.starts_with("ELASTIC_CA_PATH has no PEM certificate"), "{no_pem}");
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
    let malformed = load("", &[("GITHUB_PERSONAL_ACCESS_TOKEN", "hunter2 x")], &[]).unwrap();
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

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn github(file: &str, environment: Pairs<'_>) -> Result<Github, ConfigError> {
    Github::read(&load(file, environment, &[])?)
}

fn exposed(credentials: &Credentials) -> Vec<&str> {
    credentials.tokens.iter().map(Secret::expose).collect()
}

#[test]
fn several_tokens_come_from_the_file_or_the_environment() {
    let table: &[(&str, Pairs<'_>, &[&str])] = &[
        ("", &[], &[]),
        ("[github]\ntoken = 'a'", &[], &["a"]),
        ("[github]\ntokens = ['a', 'b', 'a']", &[], &["a", "b"]),
        ("[github]\ntoken = 'a,b'", &[], &["a", "b"]),
        ("[github]\ntokens = 'a,b'", &[], &["a", "b"]),
        (
            "[github]\ntokens = ['a', 'b']",
            &[("GITHUB_PERSONAL_ACCESS_TOKEN", "c, d,c,")],
            &["c", "d"],
        ),
    ];
    for (file, environment, want) in table {
        let credentials = github(file, environment).unwrap().credentials();
        assert_eq!(exposed(&credentials), *want, "{file} {environment:?}");
        assert_eq!(credentials.is_empty(), want.is_empty());
    }
}

#[test]
fn an_app_comes_from_the_file_or_the_environment() {
    let from_file = "[github.app]\nid = 7\ninstallation_id = 8\nprivate_key_path = '/a.pem'";
    let app = github(from_file, &[("GITHUB_APP_ID", "9")]).unwrap().credentials().app;
    let want = App {
        id: 9,
        installation_id: Some(8),
        private_key_path: "/a.pem".into(),
    };
    assert_eq!(app, Some(want));
    let env = [("GITHUB_APP_ID", "9"), ("GITHUB_APP_PRIVATE_KEY_PATH", "/b.pem")];
    let credentials = github("", &env).unwrap().credentials();
    assert!(!credentials.is_empty());
    assert_eq!(credentials.app.unwrap().installation_id, None);
}

#[test]
fn credentials_that_cannot_be_are_refused_with_the_fix() {
    let table: &[(&str, Pairs<'_>, &str, &str)] = &[
        (
            "[github]\ntoken = 'a'\ntokens = ['b']",
            &[],
            "[github] tokens is there besides token",
            "write one of them",
        ),
        (
            "[github]\ntokens = ['hunter2 x']",
            &[],
            "[github] token has characters that no token has",
            "copy it again",
        ),
        (
            "[github]\ntokens = ['hunter2', 5]",
            &[],
            "neither a text nor a list of texts",
            "section [github]",
        ),
        (
            "",
            &[("GITHUB_APP_ID", "9")],
            "[github.app] private_key_path is missing",
            "GITHUB_APP_PRIVATE_KEY_PATH",
        ),
        (
            "",
            &[("GITHUB_APP_PRIVATE_KEY_PATH", "/b.pem")],
            "[github.app] id is missing",
            "environment variable GITHUB_APP_ID, or [github.app] id in bugstream.toml",
        ),
        (
            "",
            &[("GITHUB_APP_ID", "Iv23hunter")],
            "GITHUB_APP_ID is not a whole number",
            "write digits only",
        ),
        (
            "[github]\nreserve_percent = 91",
            &[],
            "[github] reserve_percent is not between 0 and 90",
            "write 20",
        ),
        (
            "[github]\napp = 'x'",
            &[("GITHUB_APP_ID", "9")],
            "[github] in ",
            "correct or remove",
        ),
    ];
    for (file, environment, problem, fix) in table {
        let error = github(file, environment).unwrap_err();
        assert!(error.problem.contains(problem) && error.fix.contains(fix), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn a_repository_may_have_its_own_credentials() {
    let read = |file: &str, env: &[(&str, &str)]| Repositories::read(&load(file, env, &[]).unwrap());
    let file = "[[repositories]]\nname = 'a/b'\n[[repositories]]\nname = 'c/d'\ntokens = ['hunter2', 'y']\n\
                [[repositories]]\nname = 'e/f'\napp = { id = 1, private_key_path = '/k.pem' }";
    let all = read(file, &[]).unwrap().0;
    assert_eq!(all[0].credentials, None);
    assert_eq!(exposed(all[1].credentials.as_ref().unwrap()), ["hunter2", "y"]);
    assert_eq!(all[2].credentials.as_ref().unwrap().app.as_ref().unwrap().id, 1);
    assert!(!format!("{all:?}").contains("hunter2"));
    assert!(!load(file, &[], &[]).unwrap().redacted().contains("hunter2"));
    let list = "[github]\ntokens = ['hunter2']";
    assert!(!load(list, &[], &[]).unwrap().redacted().contains("hunter2"));

    let named = [("GITHUB_REPO_PUBLIC", "x/y")];
    let first = read("[[repositories]]\nname = 'a/b'\ntoken = 'own'", &named).unwrap();
    assert_eq!(
        exposed(first.first().credentials.as_ref().unwrap()),
        ["own"],
        "a variable renames, no more"
    );
    for (keys, what) in [
        ("token = 'hunter2 x'", "a token has characters that no token has"),
        ("app = { private_key_path = '/k.pem' }", "app has no id"),
        ("app = { id = 1 }", "app has no private_key_path"),
    ] {
        let error = read(&format!("[[repositories]]\nname = 'a/b'\n{keys}"), &[])
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(&format!("[[repositories]] a/b: {what}")), "{error}");
        assert!(!error.contains("hunter2"));
    }
}
