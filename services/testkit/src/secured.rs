//! An Elasticsearch as people run it: TLS with a certificate of a private CA, a login, API keys.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use bugstream_stack::provision::{self, Cache};
use bugstream_stack::server::{self, ADMIN, ElasticsearchOptions, Security};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use crate::elastic::{Elastic, builder};
use crate::wait;

/// How long the server may take until it can be asked, after it said that it has started.
const READY: Duration = Duration::from_secs(180);

/// A certificate authority of one's own.
#[derive(Debug)]
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Another one each time.
    ///
    /// # Panics
    /// Never: keys can be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// Its own certificate, as PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for 127.0.0.1, and its key.
    fn certify(&self) -> Security {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Security {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// The running server.
#[derive(Debug)]
pub struct Secured {
    server: server::Elasticsearch,
    authority: Authority,
    folder: PathBuf,
}

/// An API key.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub key: String,
}

impl ApiKey {
    /// Base64 of `id:key`.
    #[must_use]
    pub fn encoded(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(self.plain())
    }

    /// `id:key`.
    #[must_use]
    pub fn plain(&self) -> String {
        format!("{}:{}", self.id, self.key)
    }
}

impl Secured {
    /// Starts one in a folder, which every user of the machine can enter then: the server does not run as root.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start(folder: &Path) -> Self {
        std::fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("it is ours");
        let authority = Authority::new("a private CA");
        let (security, data) = (authority.certify(), folder.join("elasticsearch"));
        let started = tokio::task::spawn_blocking(move || {
            let distribution = provision::elasticsearch(&Cache::open()?)?;
            server::Elasticsearch::start(ElasticsearchOptions {
                security: Some(security),
                ..ElasticsearchOptions::new(distribution, data)
            })
        });
        let server = started.await.expect("no panic").expect("the server starts");
        let secured = Self {
            server,
            authority,
            folder: folder.to_owned(),
        };
        let admin = secured.admin();
        wait::until_true("the secured server can be asked", READY, async || {
            let health = "/_cluster/health?wait_for_status=yellow&timeout=1s";
            admin.call(http::Method::GET, health, None).await.0 == 200
        })
        .await;
        secured
    }

    /// `https://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// A file with the certificate of another CA and then that of its own.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        let path = self.folder.join("ca.pem");
        let both = format!("{}{}", Authority::new("another CA").pem(), self.authority.pem());
        std::fs::write(&path, both).expect("a file can be written");
        path
    }

    /// A part of it, as someone sees it who may everything.
    ///
    /// # Panics
    /// Never: its own certificate is one.
    #[must_use]
    pub fn admin(&self) -> Elastic {
        let (user, password) = ADMIN;
        let login = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.authorized(&format!("Basic {login}"))
    }

    /// It, as someone sees it who has that key.
    ///
    /// # Panics
    /// Never: its own certificate is one.
    #[must_use]
    pub fn with(&self, key: &ApiKey) -> Elastic {
        self.authorized(&format!("ApiKey {}", key.encoded()))
    }

    fn authorized(&self, how: &str) -> Elastic {
        let mut headers = http::HeaderMap::new();
        headers.insert(http::header::AUTHORIZATION, how.parse().expect("printable"));
        let trusted = reqwest::Certificate::from_pem(self.authority.pem().as_bytes()).expect("a certificate");
        let client = builder().default_headers(headers).tls_certs_only([trusted]).build();
        Elastic::through(&self.url(), client.expect("a client"))
    }

    /// Makes an API key, with what [the API] takes.
    ///
    /// [the API]: https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-security-create-api-key
    ///
    /// # Panics
    /// If it is refused.
    pub async fn api_key(&self, request: &Value) -> ApiKey {
        let (status, answer) = self
            .admin()
            .call(http::Method::POST, "/_security/api_key", Some(request))
            .await;
        assert_eq!(status, 200, "{answer}");
        let text = |name: &str| answer[name].as_str().expect("a text").to_owned();
        let key = ApiKey {
            id: text("id"),
            key: text("api_key"),
        };
        assert_eq!(answer["encoded"], json!(key.encoded()));
        key
    }
}
