//! What the guest agent and the harness say to each other.
