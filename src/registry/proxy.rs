//! stub
use crate::Result;
#[derive(Debug,Clone,Default)] pub struct ProxyOptions { pub https: Option<String>, pub http: Option<String>, pub no_proxy: Option<String> }
impl ProxyOptions { pub fn proxies(&self)->Result<Vec<reqwest::Proxy>>{Ok(vec![])} }
