-- Asks once for each path in the file $BENCH_PATHS, then ends wrk: its wall time is what all of them took.
local asked, answered, paths = 0, 0, {}

function init()
   for line in io.lines(os.getenv("BENCH_PATHS")) do
      paths[#paths + 1] = wrk.format("GET", line)
   end
end

-- Connections that are done before the others ask for the last path again.
function request()
   asked = asked + 1
   return paths[math.min(asked, #paths)]
end

function response(status)
   if status ~= 200 then
      print("status " .. status)
      os.exit(1)
   end
   answered = answered + 1
   if answered == #paths then
      print("answered " .. answered)
      io.stdout:flush()
      os.exit(0)
   end
end
