//! GitHub's REST API as the downloader needs it: whole answers, raw bytes, limits obeyed
