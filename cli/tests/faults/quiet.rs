//! What is not said, and what is not done.
