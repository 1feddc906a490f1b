-- What wrk is to send and to print: wrk ... --script wrk.lua URL [BYTES OF A POST'S BODY]

-- No request() and no response(): with either, wrk runs Lua for every request, and measures itself.
function init(arguments)
   -- Of the script that checks passwords (apps/password.py).
   wrk.headers["Authorization"] = wrk.path == "/closed" and "Basic YW5uOnNlY3JldA==" or nil
   local length = tonumber(arguments[1])
   if length then
      wrk.method = "POST"
      wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
      wrk.body = string.rep("x", length)
   end
end

-- Times are in microseconds.
function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      "bench requests=%d duration=%d bytes=%d connect=%d read=%d write=%d status=%d timeout=%d p99=%d\n",
      summary.requests, summary.duration, summary.bytes,
      errors.connect, errors.read, errors.write, errors.status, errors.timeout,
      latency:percentile(99)))
end
