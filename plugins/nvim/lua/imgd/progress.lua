--- How far pictures are, in words for the status line, the command line and the marked place.
local config = require("imgd.config")
local M = {}

function M.new()
  return { stage = "starting", images = {}, steps = 0, image_count = 1 }
end

--- Takes an event of `imgctl generate --json` in.
function M.take(progress, event)
  local kind = event.event
  if kind == "queued" then
    progress.stage, progress.position = "waiting", event.position
  elseif kind == "loading" then
    progress.stage, progress.loaded = "loading", event.fraction
  elseif kind == "started" then
    progress.stage, progress.image_count = "drawing", event.image_count
    progress.steps = event.evaluation_count
    progress.images[event.image_index] = event.evaluations_done
  elseif kind == "step" then
    progress.stage, progress.steps, progress.eta_secs = "drawing", event.count, event.eta_secs
    progress.images[event.image_index] = event.index
  elseif kind == "image" then
    progress.images[event.image_index] = progress.steps
  end
end

--- Steps done and to do, over all pictures of a request.
function M.count(progress)
  local done = 0
  for _, steps in pairs(progress.images) do
    done = done + steps
  end
  return done, progress.steps * progress.image_count
end

--- One request in words: `waiting, 2 before it`, `loading the model`, `12/28, 9 s`.
function M.text(progress)
  if progress.stage == "waiting" then
    return progress.position > 0 and ("imgd waiting, %d before it"):format(progress.position) or "imgd waiting"
  elseif progress.stage == "loading" then
    return ("imgd loading the model, %d/10"):format(math.floor(progress.loaded * 10))
  elseif progress.stage ~= "drawing" then
    return "imgd " .. progress.stage
  end
  local done, all = M.count(progress)
  if done >= all then
    return "imgd finishing"
  end
  local left = progress.eta_secs and (", %d s"):format(math.ceil(progress.eta_secs)) or ""
  return ("imgd %d/%d%s"):format(done, all, left)
end

--- All requests under way in words, for a status line; empty where there are none. Has no percent sign.
function M.line(active)
  if #active <= 1 then
    return active[1] and M.text(active[1].progress) or ""
  end
  local done, all = 0, 0
  for _, drawing in ipairs(active) do
    local its_done, its_all = M.count(drawing.progress)
    done, all = done + its_done, all + its_all
  end
  return ("imgd %d pictures, %d/%d"):format(#active, done, all)
end

--- Tells everybody who shows progress: the status line, `User ImgdProgress`, the command line.
function M.changed(active)
  vim.cmd("redrawstatus!")
  vim.api.nvim_exec_autocmds("User", { pattern = "ImgdProgress", modeline = false })
  -- Never over what a person types there, nor while Neovim waits for a key.
  local mode = vim.api.nvim_get_mode()
  if config.values.echo and #vim.api.nvim_list_uis() > 0 and mode.mode:match("^[niv]") and not mode.blocking then
    local text = M.line(active):sub(1, math.max(vim.v.echospace, 1))
    vim.api.nvim_echo({ { text } }, false, {})
  end
end

return M
