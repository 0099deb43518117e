//! cargo stack: the real servers and every service on one machine, without containers
