--- Pictures under way: started, followed, cancelled, and what becomes of them.
local mark = require("imgd.mark")
local paths = require("imgd.paths")
local program = require("imgd.program")
local progress = require("imgd.progress")
local say = require("imgd.say")
local M = {}

--- Those under way, the newest last.
M.active = {}

local function forget(drawing)
  for at, other in ipairs(M.active) do
    if other == drawing then
      table.remove(M.active, at)
    end
  end
end

--- A picture's file is there: its link goes to the mark, or its path is told.
local function arrived(drawing, path)
  path = paths.absolute(path, drawing.folder)
  drawing.paths[#drawing.paths + 1] = path
  local ok, inserted, why = pcall(mark.insert, drawing.mark, path, drawing.prompt)
  if not (ok and inserted) then
    table.insert(drawing.unlinked, ("the picture is %s; no link was inserted: %s"):format(path, ok and why or inserted))
  end
end

local function follow(drawing, event)
  if event.event == "image" and event.path then
    arrived(drawing, event.path)
  elseif event.event == "notice" then
    say.note(event.message)
  end
  drawing.job_id = event.job_id or drawing.job_id
  progress.take(drawing.progress, event)
  mark.show(drawing.mark, progress.text(drawing.progress))
  progress.changed(M.active)
end

local function ended(drawing, problem)
  forget(drawing)
  drawing.problem, drawing.over = problem, true
  progress.changed(M.active)
  for _, text in ipairs(drawing.unlinked) do
    say.warn(text)
  end
  if problem and not drawing.cancelled and drawing.otherwise and drawing.otherwise(problem) then
    return
  end
  mark.remove(drawing.mark)
  if problem and (drawing.cancelled or problem.reason == "CANCELLED") then
    say.note("cancelled")
  elseif problem then
    say.error(problem)
  end
end

--- Starts a drawing. `given` has the buffer, its `mark`, `flags` for imgctl, the `prompt`, and `otherwise(error)`, which may
--- take care of an error and then returns true. Returns the drawing, or nil where it could not be started.
function M.start(given)
  local folder, unwritable = paths.for_pictures(given.buffer)
  if not folder then
    mark.remove(given.mark)
    say.error(unwritable)
    return nil
  end
  local drawing = {
    folder = folder,
    mark = given.mark,
    prompt = given.prompt,
    otherwise = given.otherwise,
    paths = {},
    unlinked = {},
    progress = progress.new(),
  }
  local id, problem = program.start({
    args = vim.list_extend({ "generate", "-" }, given.flags),
    -- imgctl names the file by prompt and seed, and numbers it where the name is taken.
    cwd = folder,
    -- The last line break is not part of a prompt.
    input = given.prompt .. "\n",
    on_event = function(event)
      follow(drawing, event)
    end,
    on_end = function(error)
      ended(drawing, error)
    end,
  })
  if not id then
    mark.remove(given.mark)
    say.error(problem)
    return nil
  end
  drawing.id = id
  table.insert(M.active, drawing)
  mark.show(drawing.mark, progress.text(drawing.progress))
  progress.changed(M.active)
  return drawing
end

--- Ends the last drawing, or all; returns how many.
function M.cancel(all)
  local count = all and #M.active or math.min(#M.active, 1)
  for at = #M.active, #M.active - count + 1, -1 do
    M.active[at].cancelled = true
    program.interrupt(M.active[at].id)
  end
  return count
end

return M
