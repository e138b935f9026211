# What of a small application's traffic leaves the primary, for suites.sh in the mode "split". Not among the suites by default:
#
#   PGHERD_SUITES="offload_django offload_sqlalchemy" PGHERD_SUITES_MODES=split tests/drivers/suites.sh

prepare_offload() {
    [ -x "$venv/bin/pip" ] || python3 -m venv "$venv" || return 1
    pip install -q Django SQLAlchemy 'psycopg[binary]'
}
for style in django django_atomic sqlalchemy sqlalchemy_auto sqlalchemy_readonly; do
    eval "prepare_offload_$style() { prepare_offload; }"
    eval "suite_offload_$style() { bounded \"\$venv/bin/python\" \"\$here/suites/offload.py\" $style \"\$tests\"; }"
done
