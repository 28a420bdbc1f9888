-- Requests for wrk. The command prepends a table "load":
--   method, path, headers   of the request; path may contain %s for an
--                           organization, then %s for a secret's name
--   body                    "" for none; contains %s for a name, then %s for
--                           a value, which is always unique
--   host                    for the Host header
--   orgs                    organizations to choose from
--   names                   number of names to choose from
--   run                     number of this load
--   reads                   share of requests that are instead a GET of path,
--                           without body
--   pause                   milliseconds between requests of a connection

local format, random = string.format, math.random
local threads = 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

function init()
   math.randomseed(load.run * 64 + number)
   local lines = {}
   for name, value in pairs(load.headers) do
      lines[#lines + 1] = name .. ": " .. value
   end
   lines[#lines + 1] = "Host: " .. load.host
   head = table.concat(lines, "\r\n")
   count = 0
end

-- Let wrk prepare the constant parts once.
if load.body == "" and #load.orgs == 1 and not load.path:find("%%s.*%%s") then
   wrk.method = load.method
   wrk.path = format(load.path, load.orgs[1])
   for name, value in pairs(load.headers) do
      wrk.headers[name] = value
   end
   init = nil
else
   function request()
      local name = format("secret_%07d", random(0, load.names - 1))
      local path = format(load.path, load.orgs[random(#load.orgs)], name)
      if load.body == "" or random() < load.reads then
         local method = load.body == "" and load.method or "GET"
         return format("%s %s HTTP/1.1\r\n%s\r\n\r\n", method, path, head)
      end
      count = count + 1
      local body = format(load.body, name, format("%06d-%02d-%010d", load.run, number, count))
      return format("%s %s HTTP/1.1\r\n%s\r\nContent-Length: %d\r\n\r\n%s", load.method, path, head, #body, body)
   end
end

if load.pause > 0 then
   function delay()
      return load.pause
   end
end

function done(summary, latency)
   local e = summary.errors
   io.write(format('\nbench {"requests":%d,"microseconds":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"mean":%.1f,"p50":%d,"p99":%d}\n',
      summary.requests, summary.duration, e.connect, e.read, e.write, e.status, e.timeout,
      latency.mean, latency:percentile(50), latency:percentile(99)))
end
