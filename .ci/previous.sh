#!/usr/bin/env bash
# Builds the server of the previous release, the newest tag before this commit, or of the commit before this one while there is
# no tag, and prints where the binary is: a test runs it beside the new one, as a rolling upgrade does. Once per commit; what
# both depend on is compiled once. HUBBUB_TEST_PREVIOUS names another binary instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -n "${HUBBUB_TEST_PREVIOUS:-}" ]; then
    echo "$HUBBUB_TEST_PREVIOUS"
    exit
fi
if ! commit=$(git rev-parse --verify --quiet 'HEAD~1^{commit}' 2>/dev/null); then
    echo "git knows no commit before this one, so the test of a rolling upgrade is LEFT OUT. \`git fetch --unshallow\` completes a" >&2
    echo "shallow clone; or name a hubbub of an earlier release: make test HUBBUB_TEST_PREVIOUS=/path/to/hubbub" >&2
    echo none
    exit
fi
name=$(git describe --tags --abbrev=0 "$commit" 2>/dev/null || echo "$commit")
commit=$(git rev-parse --verify "$name^{commit}")
if ! git cat-file -e "$commit:server/migrations/postgres" 2>/dev/null; then
    echo "$name cannot be one of several instances yet, so the test of a rolling upgrade is LEFT OUT" >&2
    echo none
    exit
fi

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
home=$target/previous
binary=$home/hubbub-$commit
if [ ! -x "$binary" ]; then
    echo "building the previous server, $name" >&2
    begun=$SECONDS
    rm -rf "$home"
    mkdir -p "$home/src"
    # -m: with the commit's own dates cargo would take new sources for ones that it has compiled.
    git archive "$commit" | tar -xm -C "$home/src"
    # In the same target folder, where the dependencies are compiled already. Cargo takes two checkouts of one workspace for the same, so
    # the crates that are not dependencies get a setting in which they differ. It leaves its hubbub where this commit's belongs; the next
    # run of cargo puts that back.
    other=()
    for crate in hubbub-protocol hubbub-client hubbub-server; do
        other+=(--config "profile.dev.package.$crate.codegen-units=255")
    done
    (cd "$home/src" && CARGO_TARGET_DIR=$target cargo build --workspace --bin hubbub "${other[@]}" >&2)
    mv "$target/debug/hubbub" "$binary"
    echo "that took $((SECONDS - begun)) s" >&2
fi
echo "$binary"
