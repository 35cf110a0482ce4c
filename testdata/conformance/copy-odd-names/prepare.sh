#!/usr/bin/env bash
set -euo pipefail
mkdir tree
cd tree
for name in 'two  blanks' ' leading' 'trailing ' 'été' '日本語' '😀' -dash '#hash' '$dollar' 'back\slash' 'quo"te' "apos'trophe" \
  'star*' 'question?' '[brackets]' 'per%cent' $'new\nline' $'tab\ttab' '~tilde' 'a:b' '!bang' 'semi;colon' '...' '.hidden' 'wh.x'; do
  printf '%s' "$name" > "$name"
done
# Composed and decomposed forms of one letter are two names.
printf nfc > $'\u00e4'
printf nfd > $'a\u0308'
mkdir 'dir with blank'
echo x > 'dir with blank/x'
