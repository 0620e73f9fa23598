#!/bin/sh
# make.sh PROGRAM SOURCE...: compiles what has changed since last time, then links everything statically.
# Object files are kept in $OBJECTS under the digest of what they are made from.
set -eu
program=$1
shift
musl=/usr/lib/x86_64-linux-musl
tcc=/usr/lib/x86_64-linux-gnu/tcc
objects=
for source in "$@"; do
    object=$OBJECTS/$(cat "$source" ./*.h | sha256sum | cut -c1-16).o
    if [ ! -f "$object" ]; then
        echo "compiling $source"
        # Another program may be made at the same moment, in a container with the same process ids.
        fresh=$object.$(basename "$program")
        tcc -c -Wall -Werror -nostdinc -I/usr/include/x86_64-linux-musl -I$tcc/include -o "$fresh" "$source"
        mv "$fresh" "$object"
    fi
    objects="$objects $object"
done
tcc -static -nostdlib -o "$program" $musl/crt1.o $musl/crti.o $objects $musl/libc.a $tcc/libtcc1.a $musl/crtn.o
