//! The chassis of every service: configuration, start and stop, health, the consumer loop, the log
