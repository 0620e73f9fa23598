//! bkhost
