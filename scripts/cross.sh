# Cross-building hearth: what build-windows and build-arm have in common. They source it with
#   system     windows or arm: the preset, the folder below build/ and below the private prefix
#   toolchain  cmake's description of it, in cmake/
#   flags      for the compiler of the libraries
# and call cross_options "$@", then cross_build. $cross is then the folder of the libraries, and --prefix says another one.
#
# Libraries are compiled static from the upstream archives that Debian keeps, from the mirror of the apt configuration, each
# checked against the sum below. An archive that already lies in $cross/sources is taken as it is, if its sum is right: so any
# other way to get it serves as well.
repo=$PWD
prefix=${HEARTH_PREFIX:-$repo/.prefix}
case $prefix in /*) ;; *) prefix=$repo/$prefix ;; esac
jobs=$(nproc 2>/dev/null || echo 2)
tests=OFF

say() { printf '%s\n' "build-$system: $*" >&2; }
die() { say "$@"; exit 1; }

cross_options() {
   while [ $# -gt 0 ]; do
      case $1 in
      --prefix) cross=${2:?--prefix wants a folder}; shift ;;
      --tests) tests=ON ;;
      -h|--help) sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "scripts/build-$system"; exit 0 ;;
      *) say "unknown option $1 (see --help)"; exit 2 ;;
      esac
      shift
   done
   case $cross in /*) ;; *) cross=$repo/$cross ;; esac
}

# --- the libraries ------------------------------------------------------------------------------------------------------------
# name, its archive below pool/main of a Debian mirror, its SHA-256; then options of its own build. The versions are those of
# third_party/README.md, so that a tokenizer sees the same Unicode on every system.
libraries='
pcre2    p/pcre2/pcre2_10.42.orig.tar.gz      c33b418e3b936ee3153de2c61cc638e7e4fe3156022a5c77d0711bcbb9d64f1f  -DPCRE2_SUPPORT_JIT=ON -DPCRE2_BUILD_PCRE2GREP=OFF -DPCRE2_BUILD_TESTS=OFF
utf8proc u/utf8proc/utf8proc_2.8.0.orig.tar.gz a0a60a79fe6f6d54e7d411facbfcc867a6e198608f2cd992490e46f04b1bcecc
jansson  j/jansson/jansson_2.14.orig.tar.gz   c739578bf6b764aa0752db9a2fdadcfe921c78f1228c7ec0bb47fa804c55d17b  -DJANSSON_EXAMPLES=OFF -DJANSSON_BUILD_DOCS=OFF -DJANSSON_WITHOUT_TESTS=ON
cmocka   c/cmocka/cmocka_1.1.5.orig.tar.xz    f0ccd8242d55e2fd74b16ba518359151f6f8383ff8aef4976e48393f77bba8b6  -DWITH_STATIC_LIB=ON -DWITH_EXAMPLES=OFF
'

is_good() { [ -r "$1" ] && [ "$(sha256sum < "$1" | cut -d' ' -f1)" = "$2" ]; }

fetch() { # PATH-BELOW-POOL SHA256: the archive is in $cross/sources afterwards
   local archive=$cross/sources/${1##*/} mirror helper=/usr/lib/apt/apt-helper
   if is_good "$archive" "$2"; then return; fi
   mirror=$(scripts/setup --mirror)
   if [ -n "$mirror" ] && [ -x $helper ]; then # apt's own downloader knows the proxies and addresses of apt
      $helper -oAPT::Sandbox::User=root -oAcquire::http::Timeout=20 -oAcquire::Retries=2 \
         download-file "${mirror%/}/pool/main/$1" "$archive.part" "SHA256:$2" >"$cross/log" 2>&1 || tail -n 3 "$cross/log" >&2
      if is_good "$archive.part" "$2"; then mv -f "$archive.part" "$archive"; return; fi
      rm -f "$archive.part"
   fi
   die "cannot get ${1##*/}: put it into $cross/sources by hand (its SHA-256 is $2), and run this again"
}

build_library() { # NAME PATH-BELOW-POOL SHA256 [CMAKE OPTIONS]
   local name=$1 archive=$cross/sources/${2##*/} stamp="$2 $3 $cross ${*:4}"
   if [ -r "$cross/stamps/$name" ] && [ "$(cat "$cross/stamps/$name")" = "$stamp" ]; then return; fi
   fetch "$2" "$3"
   say "compiling $name"
   rm -rf "$cross/build/$name"
   mkdir -p "$cross/build/$name/source"
   tar -xf "$archive" -C "$cross/build/$name/source" --strip-components=1 || die "$archive cannot be unpacked"
   if ! { cmake -S "$cross/build/$name/source" -B "$cross/build/$name/build" -G Ninja --toolchain "$repo/cmake/$toolchain" \
      -DCMAKE_INSTALL_PREFIX="$cross" -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DCMAKE_C_FLAGS="$flags" "${@:4}" &&
      cmake --build "$cross/build/$name/build" -j "$jobs" && cmake --install "$cross/build/$name/build"; } >"$cross/log" 2>&1; then
      grep -E -A4 'rror' "$cross/log" | head -n 30 >&2
      die "$name could not be compiled; all of its output is in $cross/log"
   fi
   rm -rf "$cross/build/$name"
   printf '%s\n' "$stamp" > "$cross/stamps/$name"
}

build_libraries() {
   local name archive sum options
   mkdir -p "$cross"/{sources,stamps,include} || die "cannot make the folder $cross"
   while read -r name archive sum options; do
      [ -n "$name" ] || continue
      # shellcheck disable=SC2086 # options are words
      build_library "$name" "$archive" "$sum" $options
   done <<< "$libraries"
   # cmocka also builds itself as a shared library, which would be preferred.
   if [ -e "$cross/lib/libcmocka-static.a" ]; then mv -f "$cross/lib/libcmocka-static.a" "$cross/lib/libcmocka.a"; fi
   rm -f "$cross"/lib/*.dll.a "$cross"/lib/*.so*
}

# Headers are the same on every system; linked one by one, as /usr/include holds those of this one beside them.
link_headers() {
   local folder header found
   for header in vulkan/vulkan_core.h vk_video volk.h volk.c; do
      found=''
      for folder in "$prefix/include" ${VULKAN_SDK:+"$VULKAN_SDK/include"} /usr/include /usr/local/include; do
         for found in "$folder/$header" "$folder/volk/$header" "$folder/Volk/$header"; do
            if [ -e "$found" ]; then break 2; fi
            found=''
         done
      done
      [ -n "$found" ] || die "$header is missing: run scripts/setup, or set VULKAN_SDK"
      if [ "$header" = vulkan/vulkan_core.h ]; then found=${found%/*} header=vulkan; fi
      ln -sfn "$(readlink -f "$found")" "$cross/include/$header"
   done
}

# --- the program --------------------------------------------------------------------------------------------------------------
cross_build() {
   local log=build/$system.log
   scripts/setup --for "$system"
   build_libraries
   link_headers
   mkdir -p build
   if ! { cmake -B "build/$system" --preset "$system" -DHEARTH_TESTS=$tests "-DHEARTH_${system^^}_PREFIX=$cross" -DHEARTH_PREFIX="$prefix" &&
      cmake --build "build/$system" -j "$jobs"; } >"$log" 2>&1; then
      grep -E -A6 'error|Error|FAILED' "$log" | head -n 40 >&2
      die "hearth could not be built; all of its output is in $log"
   fi
}
