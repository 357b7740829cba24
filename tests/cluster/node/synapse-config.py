#!/usr/bin/env python3
"""synapse-config.py FOLDER ADDRESS: writes the configuration of a private homeserver with fresh secrets into FOLDER."""
import base64
import secrets
import sys

import yaml

folder, address = sys.argv[1:]
unlimited = {"per_second": 1000, "burst_count": 1000}
config = {
    "server_name": "hs.test",
    "pid_file": f"{folder}/homeserver.pid",
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
    "media_store_path": f"{folder}/media",
    "log_config": f"{folder}/log.yaml",
    "signing_key_path": f"{folder}/signing.key",
    "registration_shared_secret": secrets.token_urlsafe(32),
    "macaroon_secret_key": secrets.token_urlsafe(32),
    "form_secret": secrets.token_urlsafe(32),
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
log = {
    "version": 1,
    "formatters": {"line": {"format": "%(asctime)s %(name)s %(levelname)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": "WARNING", "handlers": ["console"]},
    "disable_existing_loggers": False,
}
seed = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
with open(f"{folder}/homeserver.yaml", "w", encoding="utf-8") as file:
    yaml.safe_dump(config, file)
with open(f"{folder}/log.yaml", "w", encoding="utf-8") as file:
    yaml.safe_dump(log, file)
with open(f"{folder}/signing.key", "w", encoding="utf-8") as file:
    file.write(f"ed25519 test {seed}\n")
