//! Who builds what: platforms × nodes → assignments, with a reason for each. Pure.
