//! Logging in and out.

use reqwest::Method;

use crate::credentials::Credential;
use crate::credentials::CredentialsError;
use crate::credentials::Stored;
use crate::error::RegistryError;
use crate::exchange::Call;
use crate::registry::Registry;
use crate::route::Route;
use crate::secret::Secret;
use crate::tokens::Access;

impl Registry {
    /// Checks name and password with the registry, then stores them: with the credential helper that the file names, else in the
    /// file, readable by its owner only. Nothing is stored that the registry does not accept.
    pub async fn login(&self, host: &str, username: &str, password: Secret) -> Result<Stored, RegistryError> {
        let host = &server_name(host);
        if username.is_empty() || username.contains(':') {
            return Err(CredentialsError::UserName.into());
        }
        let credential = Credential::Password { username: username.to_owned(), password };
        let doing = format!("log in to {host}");
        let access = Access { scopes: Vec::new(), credential: Some(credential.clone()) };
        let mut route = Route::to_host(&self.shared, host);
        loop {
            let endpoint = route.endpoint();
            let outcome = match self.shared.base(endpoint, &doing).await {
                Ok(url) => self.shared.exchange(endpoint, Call::new(Method::GET, url, &access, &doing)).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(_) => break,
                Err(error) => route.failed(error).await?,
            }
        }
        let authority = route.endpoint().authority.clone();
        let stored = self.shared.credentials.store(host, &credential).await?;
        self.shared.forget_user(&authority).await;
        Ok(stored)
    }

    /// Forgets the credentials of a registry, in all files and helpers; whether there were any.
    pub async fn logout(&self, host: &str) -> Result<bool, RegistryError> {
        let host = &server_name(host);
        let found = self.shared.credentials.erase(host).await?;
        let authority = Route::to_host(&self.shared, host).endpoint().authority.clone();
        self.shared.forget_user(&authority).await;
        Ok(found)
    }
}

/// The registry's name in what people type: `https://HOST/v1/`, `HOST/`, `HOST`.
fn server_name(text: &str) -> String {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default().to_ascii_lowercase();
    match host.as_str() {
        "" | "index.docker.io" | crate::endpoint::DOCKER_HOST => bld_oci::reference::DEFAULT_DOMAIN.to_owned(),
        _ => host,
    }
}
