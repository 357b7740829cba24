# A virtual environment may be moved as long as it is called through bin/python, as we do.
python3 -m venv "$output/venv"
"$output/venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
