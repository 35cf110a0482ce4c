#!/usr/bin/env bash
set -euo pipefail
put() { # FILE: moves it into the layout and prints its descriptor's members
  local sum size
  sum=$(sha256sum "$1" | cut -d' ' -f1)
  size=$(stat -c %s "$1")
  mv "$1" "../layout/blobs/sha256/$sum"
  printf '"digest":"sha256:%s","size":%s' "$sum" "$size"
}
mkdir -p ../layout/blobs/sha256 tree
echo 'of the layout' > tree/marker
tar --create --file layer.tar --owner=0 --group=0 --numeric-owner --mtime=@1600000000 -C tree marker
diff_id=$(sha256sum layer.tar | cut -d' ' -f1)
layer=$(put layer.tar)
printf '{"architecture":"%s","os":"linux","config":{"Env":["FROM_LAYOUT=yes"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created_by":"laid out"}]}' "$(dpkg --print-architecture)" "$diff_id" > config.json
config=$(put config.json)
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json",%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar",%s}]}' "$config" "$layer" > manifest.json
manifest=$(put manifest.json)
printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",%s,"annotations":{"org.opencontainers.image.ref.name":"one"}}]}' "$manifest" > ../layout/index.json
echo '{"imageLayoutVersion":"1.0.0"}' > ../layout/oci-layout
rm -r tree
