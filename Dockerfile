# masklet serve: docker build -t masklet . && docker run -p 8765:8765 -v masklet:/data masklet (with --gpus all on a GPU)
FROM python:3.12-slim-bookworm

WORKDIR /opt/masklet
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
# torch first and by itself, so that nothing else chooses another one
RUN pip install --no-cache-dir -c constraints.txt torch \
    && pip install --no-cache-dir -c constraints.txt ".[serve]" \
    && useradd --create-home --uid 10001 masklet \
    && mkdir /data && chown masklet /data

# by number, so that a cluster can see that it is not root
USER 10001
VOLUME /data
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8765/health', timeout=2)"]
# Others can reach it, so it prints an address with a token: docker logs shows it
CMD ["masklet", "serve", "--host", "0.0.0.0", "--folder", "/data"]
