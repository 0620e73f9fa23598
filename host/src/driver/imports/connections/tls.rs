//! TLS as a guest configures it: by names of options, whose files only the host reads.

use wasmtime::component::Resource;

use super::super::types::{Answer, Failure};
use super::Connection;
use super::failures::tls_failure;
use crate::connect::tls::{self, OptionFile, TlsFiles, Trust};
use crate::driver::bindings::connections::HostTlsConfig;
use crate::driver::bindings::types::ErrorKind;
use crate::driver::grants::Grants;
use crate::driver::state::View;

/// How to speak TLS.
#[derive(Clone, Debug, Default)]
pub struct TlsConfig {
    authority: Option<String>,
    identity: Option<(String, String)>,
    server_name: Option<String>,
}

/// Speaks TLS over the connection, which is used up also by a failure.
pub(crate) async fn start(connection: Connection, config: &TlsConfig, grants: &Grants) -> Answer<Connection> {
    let files = files(config, grants)?;
    let named = config.server_name.as_ref().or(connection.host.as_ref());
    let Some(name) = named.filter(|name| !name.is_empty()).cloned() else {
        let message = format!("There is no server name to verify `{}` by", connection.peer);
        return Err(Failure::new(ErrorKind::InvalidConfig, message));
    };
    let (peer, host, last_words) = (
        connection.peer.clone(),
        connection.host.clone(),
        connection.last_words.clone(),
    );
    let authority = connection.authority.clone();
    let pipe = tls::start(connection.into_pipe(), &files, &name, &peer)
        .await
        .map_err(|error| tls_failure(&error))?;
    let mut secured = Connection::new(pipe, peer);
    secured.host = host;
    secured.last_words = last_words;
    secured.authority = authority;
    Ok(secured)
}

fn files(config: &TlsConfig, grants: &Grants) -> Answer<TlsFiles> {
    let Some(authority) = &config.authority else {
        let message = "TLS needs an option with the certificate of an authority, and the driver named none";
        return Err(Failure::new(ErrorKind::InvalidConfig, message));
    };
    let identity = match &config.identity {
        Some((certificate, key)) => Some((file(certificate, grants)?, file(key, grants)?)),
        None => None,
    };
    Ok(TlsFiles {
        trust: Trust::File(file(authority, grants)?),
        identity,
    })
}

fn file(option: &str, grants: &Grants) -> Answer<OptionFile> {
    match grants.tls_file(option)?.filter(|path| !path.is_empty()) {
        Some(path) => Ok(OptionFile::new(option, path)),
        None => Err(Failure::new(
            ErrorKind::InvalidConfig,
            format!("TLS needs the option `{option}`"),
        )),
    }
}

impl HostTlsConfig for View<'_> {
    async fn new(&mut self) -> wasmtime::Result<Resource<TlsConfig>> {
        Ok(self.table.push(TlsConfig::default())?)
    }

    async fn authority_option(&mut self, handle: Resource<TlsConfig>, name: String) -> wasmtime::Result<()> {
        self.call.kept.add(name.len())?;
        self.table.get_mut(&handle)?.authority = Some(name);
        Ok(())
    }

    async fn identity_options(
        &mut self,
        handle: Resource<TlsConfig>,
        certificate: String,
        key: String,
    ) -> wasmtime::Result<()> {
        self.call.kept.add(certificate.len() + key.len())?;
        self.table.get_mut(&handle)?.identity = Some((certificate, key));
        Ok(())
    }

    async fn server_name(&mut self, handle: Resource<TlsConfig>, name: String) -> wasmtime::Result<()> {
        self.call.kept.add(name.len())?;
        self.table.get_mut(&handle)?.server_name = Some(name);
        Ok(())
    }

    async fn drop(&mut self, handle: Resource<TlsConfig>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
