//! Where the credentials for a registry are found.
