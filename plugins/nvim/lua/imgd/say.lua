--- What a person is told.
local M = {}

function M.note(text)
  vim.notify("imgd: " .. text, vim.log.levels.INFO)
end

function M.warn(text)
  vim.notify("imgd: " .. text, vim.log.levels.WARN)
end

--- An error as imgctl has it: { message, hint }, or a text.
function M.error(problem)
  if type(problem) == "string" then
    problem = { message = problem }
  end
  local text = "imgd: " .. problem.message
  if problem.hint then
    text = text .. "\nhint: " .. problem.hint
  end
  vim.notify(text, vim.log.levels.ERROR)
end

return M
