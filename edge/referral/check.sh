#!/bin/sh
# Checks a referral pack with sha256sum, openssl and unzip alone; everything else is the shell itself.
#   sh check.sh PACK.zip LANE.pub      (beside PACK.zip lie PACK.zip.sha256 and PACK.zip.sha256.sig)
# LANE.pub is the lane's public key as its owner gave it to you, not the copy in the pack.
# Prints one line for each thing that is wrong, and where. Exit 0: all is as it was sealed.
set -u
export LC_ALL=C
pack=${1:?give PACK.zip} key=${2:?give LANE.pub} folder=${1%.zip}.checked newline='
'
bad=0
fail() { printf 'FAILED  %s\n' "$*"; bad=1; }
digest() { sum=$(sha256sum <"$1"); sum=${sum%% *}; }
signed() { openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in "$1" -sigfile "$2" >/dev/null 2>&1; }
text() { while IFS= read -r line || [ -n "$line" ]; do printf '%s\n' "$line"; done <"$1"; }

# 1. The file as a whole.
whole=same
if [ -f "$pack.sha256" ] && [ -f "$pack.sha256.sig" ]; then
    signed "$pack.sha256" "$pack.sha256.sig" || fail "$pack.sha256, $pack.sha256.sig: not signed with this key"
    read -r expected _ <"$pack.sha256"
    digest "$pack"
    [ "$sum" = "$expected" ] || whole=changed
else
    fail "$pack.sha256, $pack.sha256.sig: not beside the pack"
fi

# 2. Its files: each is listed, once, and is what the signed list says.
[ ! -e "$folder" ] || { fail "$folder: is there already; move it away"; exit 2; }
said=$(unzip -qq "$pack" -d "$folder" 2>&1) || fail "$pack: unzip says: $said"
[ -f "$folder/MANIFEST.sha256" ] || { fail "$pack: no MANIFEST.sha256 in it"; exit 1; }
signed "$folder/MANIFEST.sha256" "$folder/MANIFEST.sha256.sig" || fail "MANIFEST.sha256, MANIFEST.sha256.sig: not signed with this key"
manifest=$newline$(text "$folder/MANIFEST.sha256")$newline seen=$newline
names=$(unzip -Z1 "$pack" 2>&1)
while IFS= read -r name; do
    case $name in MANIFEST.sha256 | MANIFEST.sha256.sig) continue ;; esac
    case $manifest in *"  $name$newline"*) ;; *) fail "$name: in the pack, and not on its list" ;; esac
    case $seen in *"$newline$name$newline"*) fail "$name: twice in the pack" ;; esac
    seen=$seen$name$newline
done <<END
$names
END
cd "$folder" || exit 2
sums=$(sha256sum -c --quiet MANIFEST.sha256 2>&1) || fail "files: $sums"

# The key may be named from where we were: copies in the pack are compared, never trusted.
case $key in /*) ;; *) key=$OLDPWD/$key ;; esac

# 3. The journal: from each row to a signed head, digest by digest.
proved=' '
for chain in journal/chain-*.txt; do
    head=${chain#journal/chain-} previous=
    head=${head%.txt}
    signed "journal/head-$head.json" "journal/head-$head.sig" ||
        fail "journal/head-$head.json, journal/head-$head.sig: not signed with this key"
    while read -r number content start; do
        if [ "$number" = start ]; then previous=$start; continue; fi
        if [ -f "journal/row-$number.txt" ]; then
            digest "journal/row-$number.txt"
            [ "$sum" = "$content" ] || fail "journal/row-$number.txt: is not the row that $chain proves"
            proved="$proved$number "
        fi
        sum=$(printf '64:%s,64:%s,' "$content" "$previous" | sha256sum)
        previous=${sum%% *}
    done <"$chain"
    message="{\"hash\":\"$previous\",\"schema\":\"lanepulse.journal-head/1\",\"sequence\":$head}"
    [ "$(text "journal/head-$head.json")" = "$message" ] || fail "$chain: does not lead to the signed head"
done
rows=
for row in journal/row-*.txt; do
    number=${row#journal/row-}
    case $proved in *" ${number%.txt} "*) ;; *) fail "$row: no chain proves it" ;; esac
    rows=$rows$(text "$row")$newline
done

# 4. Plates and words that the journal only commits to; the raw passage; the photos: each digest stands in a row.
stands() { digest "$1"; case $rows in *"$sum"*) ;; *) fail "$1: its digest stands in no row of the journal" ;; esac; }
for file in private/*.json bundle/* bundle/calibrations/* photos/*; do
    case $file in
        bundle/verdicts.jsonl)
            while IFS= read -r line; do
                case $rows in *"$line"*) ;; *) fail "$file: a verdict that stands in no row of the journal" ;; esac
            done <"$file" ;;
        bundle/outcome.json | bundle/late.json) ;; # they repeat rows in other words; the signed list covers them
        *) [ ! -f "$file" ] || stands "$file" ;;
    esac
done

if [ "$whole" = changed ] && [ $bad = 0 ]; then
    fail "$pack: its container was changed (names, times, order); every file in it is as it was sealed"
elif [ "$whole" = changed ]; then
    fail "$pack: is not the file that was sealed; see above where"
fi
[ $bad = 0 ] && printf 'GOOD    %s: as it was sealed; now read COVER.html in %s\n' "$pack" "$folder"
exit $bad
