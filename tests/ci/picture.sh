#!/usr/bin/env bash
# picture.sh PAGE.html: a picture of the page beside it, where there is a browser that can take one without a screen.
set -euo pipefail
page=$(realpath "$1") picture=$(realpath -m "${1%.html}.png")
for browser in chromium chromium-browser google-chrome; do
  command -v "$browser" > /dev/null || continue
  # Root has no sandbox to put it into; the page is the demonstration's own.
  if timeout 60 "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=900,1150 \
    --screenshot="$picture" "file://$page" > /dev/null 2>&1 && [ -s "$picture" ]; then
    echo "Its picture: $picture"
    exit
  fi
done
echo "(with chromium installed there would be a picture of it, too)"
