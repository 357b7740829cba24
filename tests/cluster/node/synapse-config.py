#!/usr/bin/env python3
"""synapse-config.py FOLDER ADDRESS: fits the generated homeserver.yaml to the tests, keeping its secrets."""
import sys

import yaml

folder, address = sys.argv[1:]
path = f"{folder}/homeserver.yaml"
unlimited = {"per_second": 1000, "burst_count": 1000}
with open(path, encoding="utf-8") as file:
    config = yaml.safe_load(file)
config.update(
    {
        "listeners": [
            {
                "port": 8008,
                "bind_addresses": [address],
                "type": "http",
                "tls": False,
                "resources": [{"names": ["client", "media"], "compress": False}],
            }
        ],
        "database": {"name": "sqlite3", "args": {"database": f"{folder}/homeserver.db"}},
        # Nothing leaves the node.
        "trusted_key_servers": [],
        "suppress_key_server_warning": True,
        "federation_domain_whitelist": [],
        "allow_public_rooms_over_federation": False,
        "url_preview_enabled": False,
        "report_stats": False,
        # Quick, and without limits that tests would run into.
        "presence": {"enabled": False},
        "bcrypt_rounds": 4,
        "enable_registration": False,
        "rc_message": unlimited,
        "rc_registration": unlimited,
        "rc_login": {kind: unlimited for kind in ("address", "account", "failed_attempts")},
        "rc_joins": {"local": unlimited},
        "rc_invites": {"per_room": unlimited, "per_user": unlimited},
        "rc_room_creation": unlimited,
    }
)
with open(path, "w", encoding="utf-8") as file:
    yaml.safe_dump(config, file)
