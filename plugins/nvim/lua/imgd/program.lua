--- Runs imgctl and hears what it says: objects of `--json`, or an error.
local config = require("imgd.config")
local M = {}

--- The command line: program, global options and `args`.
local function command_line(args)
  local line = { config.values.imgctl, "--json" }
  if config.values.socket then
    vim.list_extend(line, { "--socket", config.values.socket })
  end
  return vim.list_extend(line, args)
end

--- Takes chunks of output and calls `on_line` for each whole line of it.
local function lines_of(on_line)
  local rest = ""
  return function(_, chunk)
    chunk[1] = rest .. chunk[1]
    rest = table.remove(chunk)
    for _, line in ipairs(chunk) do
      on_line(line)
    end
  end
end

local function decoded(line)
  local ok, object = pcall(vim.json.decode, line, { luanil = { object = true, array = true } })
  return ok and type(object) == "table" and object or nil
end

--- What imgctl says where it has no object for it: arguments that it does not take, a program that cannot run.
local function last_words(text, code)
  local about = (text:match("error: (.*)") or text) .. "\n\n"
  about = vim.trim((about:match("^(.-)\n\n"):gsub("\nhint: .*", ""):gsub("%s+", " ")))
  return {
    message = about ~= "" and about or ("imgctl ended with status %d"):format(code),
    hint = text:match("hint: ([^\n]+)"),
  }
end

--- Starts imgctl. `given` has `args`, `input` (a text for its standard input), `cwd`, `on_event(object)` and
--- `on_end(error)`, whose error is nil or { message, hint, field, reason }. Returns the job of jobstart, or nil and an error.
function M.start(given)
  local problem, words = nil, {}
  local running, id = pcall(vim.fn.jobstart, command_line(given.args), {
    cwd = given.cwd,
    stdin = given.input and "pipe" or "null",
    on_stdout = lines_of(function(line)
      local object = decoded(line)
      if object and object.event == "error" then
        problem = object
      elseif object and given.on_event then
        given.on_event(object)
      end
    end),
    on_stderr = lines_of(function(line)
      words[#words + 1] = line
    end),
    on_exit = function(_, code)
      if code ~= 0 and not problem then
        problem = last_words(table.concat(words, "\n"), code)
      end
      given.on_end(code ~= 0 and problem or nil)
    end,
  })
  if not running or id <= 0 then
    return nil,
      {
        message = ("cannot run `%s`"):format(config.values.imgctl),
        hint = 'install imgctl, or say where it is: require("imgd").setup({ imgctl = "/path/to/imgctl" })',
      }
  end
  if given.input then
    -- It may have ended already, over its arguments: then it says why.
    pcall(vim.fn.chansend, id, given.input)
    pcall(vim.fn.chanclose, id, "stdin")
  end
  return id
end

--- Runs imgctl to its end, for at most `timeout_ms`. Returns its objects, or nil and an error.
function M.run(args, timeout_ms)
  local objects, over, problem = {}, false, nil
  local id, failure = M.start({
    args = args,
    on_event = function(object)
      objects[#objects + 1] = object
    end,
    on_end = function(error)
      over, problem = true, error
    end,
  })
  if not id then
    return nil, failure
  end
  vim.wait(timeout_ms, function()
    return over
  end, 5)
  if not over then
    vim.fn.jobstop(id)
    return nil, { message = ("imgctl gave no answer within %d s"):format(timeout_ms / 1000) }
  end
  if problem then
    return nil, problem
  end
  return objects
end

--- Interrupts imgctl as Ctrl-C does, so that it has the daemon cancel the work.
function M.interrupt(id)
  local ok, pid = pcall(vim.fn.jobpid, id)
  if ok then
    vim.loop.kill(pid, "sigint")
  end
end

return M
