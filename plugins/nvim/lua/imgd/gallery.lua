--- `:ImgctlGallery`: recent pictures in a buffer of their own, one job a line; Enter inserts links to a job's pictures.
local config = require("imgd.config")
local mark = require("imgd.mark")
local paths = require("imgd.paths")
local program = require("imgd.program")
local say = require("imgd.say")
local M = {}

--- Listing waits this long for imgctl, in milliseconds.
local PATIENCE_MS = 10000

--- A job's prompt in one line.
local function prompt(job)
  local own = job.images[1] and job.images[1].prompt
  return (own or job.request.prompt or "")
end

--- `2026-01-31T12:00:00Z` as `2026-01-31 13:00`, by the clock on the wall.
local function local_time(text)
  local year, month, day, hour, minute = text:match("(%d+)-(%d+)-(%d+)T(%d+):(%d+)")
  local utc = os.time({ year = year, month = month, day = day, hour = hour, min = minute, isdst = false })
  local now = os.time()
  local away = os.date("!*t", now)
  away.isdst = false
  return os.date("%Y-%m-%d %H:%M", utc + now - os.time(away))
end

--- A job as a line: when it ended, how many pictures, their size, the model, the prompt.
local function line(job)
  local settings = job.settings or {}
  local last = settings.hires or settings
  local size = last.width_px and ("%dx%d"):format(last.width_px, last.height_px) or "?"
  local text = prompt(job):gsub("[%c%s]+", " ")
  text = text:match("%S") and text or "(no prompt)"
  if settings.upscale then
    text = "(enlarged)"
  end
  return ("%s  %2d  %9s  %-12s  %s"):format(local_time(job.finished), job.images_done, size, settings.model or "", text)
end

--- The jobs with pictures, the newest first; nil and an error.
local function jobs()
  local objects, problem = program.run({ "history", "--limit", tostring(config.values.gallery_limit) }, PATIENCE_MS)
  if not objects then
    return nil, problem
  end
  return vim.tbl_filter(function(object)
    return object.event == "job" and object.images_done > 0
  end, objects)
end

--- Writes a job's pictures beside the file that the gallery was opened from, those that are not there yet, and inserts links.
local function insert(job, place)
  local folder, unwritable = paths.for_pictures(place.buffer)
  if not folder then
    return say.error(unwritable)
  end
  local unlinked = {}
  local id, failure = program.start({
    args = { "get", job.job_id },
    cwd = folder,
    on_event = function(event)
      if event.event == "image" and event.path then
        local path = paths.absolute(event.path, folder)
        local of_image = job.images[event.image_index + 1]
        local ok, inserted, why = pcall(mark.insert, place, path, of_image and of_image.prompt or prompt(job))
        if not (ok and inserted) then
          table.insert(unlinked, ("the picture is %s; no link was inserted: %s"):format(path, ok and why or inserted))
        end
      end
    end,
    on_end = function(problem)
      for _, text in ipairs(unlinked) do
        say.warn(text)
      end
      if problem then
        say.error(problem)
      end
    end,
  })
  if not id then
    say.error(failure)
  end
end

local function fill(buffer, listed)
  local lines = vim.tbl_map(line, listed)
  if #lines == 0 then
    lines = { "no pictures yet: `:Imgctl a red apple` draws one" }
  end
  vim.bo[buffer].modifiable = true
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
  vim.bo[buffer].modifiable = false
end

--- Opens the gallery below the current window.
function M.open()
  local listed, problem = jobs()
  if not listed then
    return say.error(problem)
  end
  local target, row = vim.api.nvim_get_current_buf(), mark.cursor()
  local place = mark.new(target, row, 0, true)
  vim.cmd("botright " .. math.max(3, math.min(#listed, 12)) .. "new")
  local buffer = vim.api.nvim_get_current_buf()
  local options =
    { buftype = "nofile", bufhidden = "wipe", swapfile = false, buflisted = false, filetype = "imgd-gallery" }
  for name, value in pairs(options) do
    vim.bo[buffer][name] = value
  end
  vim.wo.wrap, vim.wo.cursorline, vim.wo.number, vim.wo.list = false, true, false, false
  vim.wo.statusline = " Pictures: Enter inserts, R lists again, q closes"
  fill(buffer, listed)
  local function map(key, what)
    vim.keymap.set("n", key, what, { buffer = buffer, nowait = true, silent = true })
  end
  map("q", "<cmd>close<cr>")
  map("R", function()
    local again, failure = jobs()
    if not again then
      return say.error(failure)
    end
    listed = again
    fill(buffer, listed)
  end)
  map("<CR>", function()
    local job = listed[vim.api.nvim_win_get_cursor(0)[1]]
    if job then
      vim.cmd("close")
      insert(job, place)
    end
  end)
end

return M
