//! Receives GitHub's webhooks and turns them into scheduled download requests
