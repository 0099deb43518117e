//! What a credential sends to prove itself. An App's installation has to ask for its token first, as the App.

use std::sync::Arc;

use bugstream_telemetry::names::Route;
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use time::OffsetDateTime;
use url::Url;

use crate::app::{Installation, Place, Token};
use crate::body;
use crate::client::{Client, Request};
use crate::credentials::{Auth, Credential};
use crate::error::Error;
use crate::exchange::Answer;
use crate::limit::{self, Ask};

impl Client {
    pub(crate) async fn bearer(&self, credential: &Credential) -> Result<Option<HeaderValue>, Error> {
        match &credential.auth {
            Auth::Nobody => Ok(None),
            Auth::Token(bearer) => Ok(Some(bearer.clone())),
            Auth::App(app) => Ok(Some(app.bearer(self.shared().now()))),
            Auth::Installation(installation) => self.installed(credential, installation).await.map(Some),
        }
    }

    /// An installation's token. What keeps it from having one closes it, or sets it aside.
    async fn installed(&self, credential: &Credential, installation: &Installation) -> Result<HeaderValue, Error> {
        let now = self.shared().now();
        // Boxed: asking for a token is asking, too.
        let renew = async || Box::pin(self.renew(installation)).await;
        let error = match installation.bearer(now, renew).await {
            Ok(bearer) => return Ok(bearer),
            Err(error) => error,
        };
        match &error {
            Error::Limited { kind, after } => drop(credential.ledger().close(
                Ask {
                    kind: *kind,
                    wait: Some(*after),
                },
                now,
            )),
            Error::Unauthorized { why } => drop(self.set_aside(credential, why)),
            _ => {}
        }
        Err(error)
    }

    async fn renew(&self, installation: &Installation) -> Result<Token, Error> {
        let no = |why: &str| Err(Error::Unauthorized { why: why.to_owned() });
        let asker = self.live();
        let id = match &installation.place {
            Place::Id(id) => *id,
            Place::Of(repository) => {
                let url = self.url(&format!("repos/{repository}/installation"));
                let mut answer = asker.ask_app(&installation.app, Method::GET, url).await?;
                if let Some(renamed) = answer.moved()? {
                    let url = renamed.url().clone();
                    answer = asker.ask_app(&installation.app, Method::GET, url).await?;
                }
                if answer.status != StatusCode::OK {
                    return no("the App is not installed on the repository, or there is no App of this id");
                }
                body::object::<Id>(&answer.body)?.id
            }
        };
        let url = self.url(&format!("app/installations/{id}/access_tokens"));
        match asker.ask_app(&installation.app, Method::POST, url).await {
            Ok(answer) if answer.status.is_success() => {
                Token::of(&answer.body, limit::date(&answer.headers), self.shared().now())
            }
            Ok(_) => no("the App has no such installation, or there is no App of this id"),
            Err(Error::Forbidden { .. }) => no("the App's installation is suspended"),
            Err(error) => Err(error),
        }
    }

    /// A request of the App itself, for a token.
    async fn ask_app(&self, app: &Arc<Credential>, method: Method, url: Url) -> Result<Answer, Error> {
        let request = Request::get(Route::Installation, url).method(method);
        let app = std::slice::from_ref(app);
        let answer = match self.permit(app, &request).await {
            Ok(permit) => self.exchange(permit.credential, &request).await,
            Err(error) => Err(error),
        };
        answer.map_err(|error| match error {
            Error::Unauthorized { .. } => Error::Unauthorized {
                why: "the App's id or private key is not accepted (401)".to_owned(),
            },
            error => error,
        })
    }

    /// Whether a refused credential may be accepted if it is made anew: a token that was revoked, a JWT with a wrong date.
    pub(crate) async fn mends(
        &self,
        credential: &Credential,
        refused: Option<HeaderValue>,
        date: Option<OffsetDateTime>,
    ) -> bool {
        match (&credential.auth, refused, date) {
            (Auth::Installation(installation), Some(refused), _) => {
                installation.forget(&refused).await;
                true
            }
            (Auth::App(app), _, Some(date)) => app.learn(date, self.shared().now()),
            _ => false,
        }
    }
}

#[derive(Deserialize)]
struct Id {
    id: u64,
}
