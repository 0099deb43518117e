//! Elasticsearch as people run it: TLS by a private CA, API keys and logins, several nodes. One server for all of it.

use std::net::SocketAddr;

use bugstream_kit::config::{Elasticsearch, Settings};
use bugstream_kit::elastic::{Method, Transport, transport};
use bugstream_stack::server::ADMIN;
use bugstream_testkit::elastic::Elastic;
use bugstream_testkit::github::Change;
use bugstream_testkit::proxy::{Mode, Proxy};
use bugstream_testkit::secured::{ApiKey, Secured};
use bugstream_testkit::wait;
use serde_json::{Value, json};

use crate::stage::{Play, SOON, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn an_elasticsearch_as_people_run_it() {
    let folder = tempfile::tempdir().unwrap();
    let secured = Secured::start(folder.path()).await;
    every_way_in_works(&secured).await;
    what_is_wrong_is_named(&secured).await;
    the_least_privileges_do_and_nodes_may_be_away(&secured).await;
}

/// A transport as these lines of `[elasticsearch]` make it.
fn configured(keys: &str) -> Transport {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("[elasticsearch]\n{keys}")).unwrap();
    let settings = Settings::load(Some(file.path()), |_| None, &[]).unwrap();
    transport(&Elasticsearch::read(&settings).unwrap()).unwrap()
}

fn trusting(secured: &Secured) -> String {
    let (url, ca) = (secured.url(), secured.ca_file());
    format!("node = '{url}'\nca_path = '{}'\n", ca.display())
}

async fn every_way_in_works(secured: &Secured) {
    let (user, password) = ADMIN;
    let key = secured.api_key(&json!({"name": "every way"})).await;
    let ways = [
        format!("username = '{user}'\npassword = '{password}'"),
        format!("api_key = '{}'", key.encoded()),
        format!("api_key = '{}'", key.plain()),
    ];
    for way in ways {
        let transport = configured(&(trusting(secured) + &way));
        assert_eq!(transport.answers().await, Ok(()), "{way}");
        let health = transport.json(Method::Get, "/_cluster/health", None).await;
        assert_eq!(health.unwrap().0, 200, "{way}");
    }
}

async fn what_is_wrong_is_named(secured: &Secured) {
    let (url, trusting, port) = (secured.url(), trusting(secured), secured.port());
    let powerless = json!({"name": "powerless", "role_descriptors": {"none": {"cluster": ["monitor"]}}});
    let powerless = secured.api_key(&powerless).await.encoded();
    let table = [
        (trusting.clone(), "wants credentials (401): set ELASTIC_API_KEY"),
        (
            format!("{trusting}api_key = 'aWQ6a2V5'"),
            "ELASTIC_API_KEY ([elasticsearch] api_key) is wrong, has expired or was revoked",
        ),
        (
            format!("{trusting}username = 'admin'\npassword = 'wrong'"),
            "ELASTIC_USERNAME and ELASTIC_PASSWORD ([elasticsearch] username, password) is wrong",
        ),
        (
            format!("node = '{url}'"),
            "name the CA's certificate in ELASTIC_CA_PATH",
        ),
        (
            trusting.replace("127.0.0.1", "localhost"),
            "its certificate is not for the host in ELASTIC_NODE",
        ),
        (
            format!("node = 'http://127.0.0.1:{port}'"),
            "write https:// in ELASTIC_NODE",
        ),
        (
            trusting.replace(&url, &Elastic::shared().node().replace("http:", "https:")),
            "it speaks no TLS there: write http:// in ELASTIC_NODE",
        ),
        (
            format!("{trusting}api_key = '{powerless}'"),
            "indices:admin/create (403): ELASTIC_API_KEY ([elasticsearch] api_key) lacks a privilege, which one of the \
             index privileges create_index, manage, all allows; docs/OPERATIONS.md",
        ),
    ];
    for (keys, said) in table {
        let refused = configured(&keys).json(Method::Put, "/an-index", None).await;
        let why = refused.unwrap_err().to_string();
        assert!(why.contains(said), "{keys}: {why}");
    }
}

/// The role that docs/OPERATIONS.md says is enough, for the indices of this test.
fn documented_role(prefix: &str) -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/OPERATIONS.md");
    let page = std::fs::read_to_string(file).unwrap();
    let (_, after) = page
        .split_once("POST /_security/api_key\n")
        .expect("the page makes a key");
    let block: String = after.lines().take_while(|line| line.starts_with("    ")).collect();
    let mut request: Value = serde_json::from_str(&block).unwrap();
    let indices = request["role_descriptors"]["bugstream"]["indices"]
        .as_array_mut()
        .unwrap();
    for name in indices.iter_mut().flat_map(|one| one["names"].as_array_mut().unwrap()) {
        *name = json!(format!("{prefix}{}", name.as_str().unwrap()));
    }
    request
}

async fn the_least_privileges_do_and_nodes_may_be_away(secured: &Secured) {
    let elastic = secured.admin();
    let ApiKey { id, key } = secured.api_key(&documented_role(elastic.prefix())).await;
    let behind: SocketAddr = ([127, 0, 0, 1], secured.port()).into();
    let (one, other) = (Proxy::start(behind).await.unwrap(), Proxy::start(behind).await.unwrap());
    let keys = format!(
        "nodes = ['https://{}', 'https://{}']\nca_path = '{}'\napi_key = '{id}:{key}'",
        one.address(),
        other.address(),
        secured.ca_file().display()
    );
    let stage = Stage::set_before(Play::default(), elastic, &keys).await;
    every_command_works(&stage).await;
    analysts_see_what_they_may(&stage, secured).await;
    assert!(one.passed() > 0 && other.passed() > 0, "nodes take turns");
    for (title, away) in [("The first is away", &one), ("The second is away", &other)] {
        away.set(Mode::Refuse);
        away.cut();
        edited(&stage, title).await;
        wait::until_true("the indexer is ready without it", SOON, async || {
            stage.indexer.away().await.is_empty()
        })
        .await;
        away.set(Mode::Pass);
    }
    for proxy in [&one, &other] {
        proxy.set(Mode::Refuse);
        proxy.cut();
    }
    stage.edit(3, [Change::Title("Both are away".to_owned())]).await;
    wait::until_true("the indexer says that it cannot be reached", SOON, async || {
        let away = stage.indexer.away().await;
        away.get("elasticsearch")
            .is_some_and(|why| why.contains("cannot be reached"))
    })
    .await;
    one.set(Mode::Pass);
    stage.titled(3, "Both are away").await;
    other.set(Mode::Pass);
    stage.stop().await;
}

/// What the operator may need the key for.
async fn every_command_works(stage: &Stage) {
    stage.queue_cli(&["add-range", "download", "1", "20"]).await;
    for number in stage.github.numbers() {
        stage.equals_github(number).await;
    }
    stage.drained().await;
    stage.queue_cli(&["rebuild"]).await;
    stage.queue_cli(&["generations", "list"]).await;
    stage.queue_cli(&["rollback"]).await;
    stage.queue_cli(&["generations", "prune", "--keep", "0"]).await;
    stage.drained().await;
    stage.queue_cli(&["verify", "--repair"]).await;
    stage.queue_cli(&["status"]).await;
}

async fn analysts_see_what_they_may(stage: &Stage, secured: &Secured) {
    let private = stage.search("issues-private", json!({"match_all": {}})).await.len() as u64;
    assert!(private > 0, "there is something to hide");
    let ask = async |role: Value, path: String| {
        let request = json!({"name": "analyst", "role_descriptors": {"role": role}});
        let key = secured.api_key(&request).await;
        secured.with(&key).call(http::Method::GET, &path, None).await
    };
    crate::data::roles_show_what_the_page_says(&stage.elastic, private, ask).await;
}

async fn edited(stage: &Stage, title: &str) {
    stage.edit(3, [Change::Title(title.to_owned())]).await;
    stage.titled(3, title).await;
    stage.drained().await;
}
