#!/bin/sh
# Install a lock file and the project into the Python that is found: for images. usage: install.sh LOCK PROJECT
set -eu
pip="python -m pip install --no-cache-dir --disable-pip-version-check --no-deps"
# First what builds the few packages without a wheel.
awk '/^[a-z]/ {wanted = /^(setuptools|wheel)==/} wanted' "$1" > /tmp/build.lock
$pip --require-hashes -r /tmp/build.lock
$pip --require-hashes --no-build-isolation --use-pep517 -r "$1"
$pip --no-index --no-build-isolation --editable "$2"
rm /tmp/build.lock
