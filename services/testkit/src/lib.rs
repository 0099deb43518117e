//! Real servers, a GitHub simulator and a cutting proxy, for tests and the local stack
