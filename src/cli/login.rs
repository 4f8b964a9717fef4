//! stub
use super::exit::Failure;
use planish::registry::{Mirror,credential::CredentialSources,tls::TlsOptions,proxy::ProxyOptions};
#[derive(Debug, clap::Args)] pub struct LoginArguments { /// x
 #[arg(long)] plain_http: bool }
pub struct Login { pub plain_http: bool, pub https: bool, pub tls: TlsOptions, pub proxies: ProxyOptions, pub credentials: CredentialSources, pub mirrors: Vec<Mirror> }
impl LoginArguments { pub fn options(&self)->Result<Login,Failure>{ Ok(Login{plain_http:self.plain_http,https:false,tls:TlsOptions::default(),proxies:ProxyOptions::default(),credentials:CredentialSources::default(),mirrors:vec![]}) } }
