"""Prepares a gateway for scripts/contract: two organizations, and two people of the first, whose tokens are printed."""

import json
import os
import sys
import time
import urllib.error
import urllib.request

BASE = sys.argv[1]
WITHIN = 60.0
PASSWORD = "contract-password"


def ask(method, path, body=None):
    request = urllib.request.Request(BASE + path, method=method)
    request.add_header("X-API-Key", os.environ["TIDEGATE_ADMIN_KEY"])
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def until_ready():
    end = time.monotonic() + WITHIN
    while True:
        try:
            return ask("GET", "/health/ready")
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > end:
                sys.exit(f"contract: the gateway was not ready within {WITHIN:.0f} s")
            time.sleep(0.2)


until_ready()
for org in ("648", "649"):
    ask("POST", "/api/v1/admin/organizations", {"orgId": org, "name": f"Organization {org}"})
for name in ("ada", "bo"):
    email = f"{name}@clinic.example"
    person = {"id": name, "email": email, "role": "USER", "orgId": "648", "password": PASSWORD}
    ask("POST", "/api/v1/admin/users", person)
    print(ask("POST", "/api/v1/auth/login", {"email": email, "password": PASSWORD})["token"])
