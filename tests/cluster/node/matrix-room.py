#!/usr/bin/env python3
"""matrix-room.py HOMESERVER-YAML URL: the users `netpol-verify` (the bot) and `reader`, and a room of both, prints what
a shell can source. May be run again: users, room and membership that exist are kept; the tokens are new ones.
"""
import hashlib
import hmac
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

import yaml

CONFIG, URL = sys.argv[1:]
PASSWORD = "only-for-tests"


def call(method, path, body=None, token=None, accept=()):
    """The answer's JSON, or None where the server answers with an error code in `accept`."""
    request = urllib.request.Request(URL + path, method=method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        answer = error.read().decode()
        if json.loads(answer).get("errcode") in accept:
            return None
        sys.exit(f"{method} {path}: {error.code} {answer}")


def register(name):
    """Makes the user if there is none, with the shared secret that only the server's owner knows."""
    with open(CONFIG, encoding="utf-8") as file:
        secret = yaml.safe_load(file)["registration_shared_secret"]
    nonce = call("GET", "/_synapse/admin/v1/register")["nonce"]
    signed = "\0".join((nonce, name, PASSWORD, "notadmin")).encode()
    mac = hmac.new(secret.encode(), signed, hashlib.sha1).hexdigest()
    body = {"nonce": nonce, "username": name, "password": PASSWORD, "admin": False, "mac": mac}
    call("POST", "/_synapse/admin/v1/register", body, accept=("M_USER_IN_USE",))


def log_in(name):
    user = {"type": "m.id.user", "user": name}
    answer = call("POST", "/_matrix/client/v3/login", {"type": "m.login.password", "identifier": user, "password": PASSWORD})
    return answer["user_id"], answer["access_token"]


def room(bot_token, reader, reader_token):
    alias = urllib.parse.quote("#netpol-verify:hs.test")
    found = call("GET", f"/_matrix/client/v3/directory/room/{alias}", token=bot_token, accept=("M_NOT_FOUND",))
    if not found:
        body = {"name": "netpol-verify", "room_alias_name": "netpol-verify", "preset": "private_chat", "invite": [reader]}
        found = call("POST", "/_matrix/client/v3/createRoom", body, bot_token)
    call("POST", f"/_matrix/client/v3/join/{urllib.parse.quote(found['room_id'])}", {}, reader_token)
    return found["room_id"]


def main():
    for name in ("netpol-verify", "reader"):
        register(name)
    (bot, bot_token), (reader, reader_token) = log_in("netpol-verify"), log_in("reader")
    print(f"MATRIX_HOMESERVER='{URL}'")
    print(f"MATRIX_ROOM='{room(bot_token, reader, reader_token)}'")
    print("MATRIX_ROOM_ALIAS='#netpol-verify:hs.test'")
    print(f"MATRIX_BOT='{bot}'\nMATRIX_BOT_TOKEN='{bot_token}'")
    print(f"MATRIX_READER='{reader}'\nMATRIX_READER_TOKEN='{reader_token}'")


main()
