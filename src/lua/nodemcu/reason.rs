//! The numbers that a failing `connect` gives, by the names that NodeMCU has for them.

/// Name in the module's table, and value.
pub(super) const REASONS: [(&str, i8); 12] = [
    ("CONN_FAIL_TLS", -6),
    ("CONN_FAIL_SERVER_NOT_FOUND", -5),
    ("CONN_FAIL_NOT_A_CONNACK_MSG", -4),
    ("CONN_FAIL_DNS", -3),
    ("CONN_FAIL_TIMEOUT_RECEIVING", -2),
    ("CONN_FAIL_TIMEOUT_SENDING", -1),
    ("CONNACK_ACCEPTED", 0),
    ("CONNACK_REFUSED_PROTOCOL_VER", 1),
    ("CONNACK_REFUSED_ID_REJECTED", 2),
    ("CONNACK_REFUSED_SERVER_UNAVAILABLE", 3),
    ("CONNACK_REFUSED_BAD_USER_OR_PASS", 4),
    ("CONNACK_REFUSED_NOT_AUTHORIZED", 5),
];
