//! One TLS provider for every client in the process.

/// Makes ring the process's TLS provider. Call it before any HTTPS client is built; further calls do nothing.
pub fn install() {
    // An error says that a provider is installed already, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
