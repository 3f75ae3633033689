--- `:checkhealth imgd`.
local config = require("imgd.config")
local program = require("imgd.program")
local M = {}

local PATIENCE_MS = 5000

-- Neovim has renamed these twice.
local report = vim.health or require("health")
local start = report.start or report.report_start
local ok = report.ok or report.report_ok
local info = report.info or report.report_info
local warn = report.warn or report.report_warn
local fail = report.error or report.report_error

local function models()
  local objects, problem = program.run({ "models" }, PATIENCE_MS)
  if not objects then
    return warn("the models cannot be listed: " .. problem.message, problem.hint and { problem.hint } or {})
  end
  local names = {}
  for _, object in ipairs(objects) do
    if object.event == "model" then
      names[#names + 1] = object.name .. (object.is_default and " (default)" or "")
    end
  end
  ok("models: " .. table.concat(names, ", "))
end

function M.check()
  start("imgd")
  if vim.fn.has("nvim-0.7") == 1 then
    ok("Neovim is new enough")
  else
    fail("Neovim 0.7 or newer is needed")
  end
  local path = vim.fn.exepath(config.values.imgctl)
  if path == "" then
    return fail(("`%s` is not found"):format(config.values.imgctl), {
      'install imgctl, or say where it is: require("imgd").setup({ imgctl = "/path/to/imgctl" })',
    })
  end
  ok(("imgctl is %s, %s"):format(path, vim.trim(vim.fn.system({ path, "--version" }))))
  local objects, problem = program.run({ "status" }, PATIENCE_MS)
  if not objects then
    -- The first picture starts it.
    return info(problem.message .. (problem.hint and ": " .. problem.hint or ""))
  end
  ok(("imgd %s answers at %s"):format(objects[1].version, objects[1].socket))
  models()
end

return M
