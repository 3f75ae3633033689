--- The plugin's commands, and what a configuration calls: `setup` and `statusline`.
local config = require("imgd.config")
local drawings = require("imgd.drawings")
local link = require("imgd.link")
local mark = require("imgd.mark")
local options = require("imgd.options")
local paths = require("imgd.paths")
local program = require("imgd.program")
local progress = require("imgd.progress")
local say = require("imgd.say")
local M = {}

--- Takes settings over; `:help imgd-setup` lists them.
function M.setup(settings)
  config.set(settings)
end

--- What is under way, for a status line; empty where nothing is.
function M.statusline()
  return progress.line(drawings.active)
end

--- Marks where links go: below `row` (from 0), or without one where the setting `insert` says.
local function mark_here(row)
  local buffer, cursor_row, cursor_column = vim.api.nvim_get_current_buf(), mark.cursor()
  if row or config.values.insert == "below" then
    return mark.new(buffer, row or cursor_row, 0, true)
  end
  return mark.new(buffer, cursor_row, cursor_column, false)
end

--- A command's options and prompt; nil with a message where they are wrong.
local function arguments(given)
  local asked, problem = options.parse(given.args, config.values.options, paths.of_buffer(0))
  if not asked then
    say.error(problem)
  end
  return asked
end

local function start(asked, here, flags, otherwise)
  return drawings.start({
    buffer = here.buffer,
    mark = here,
    flags = vim.list_extend(flags, asked.flags),
    prompt = asked.prompt,
    otherwise = otherwise,
  })
end

--- `:[range]Imgctl [option=value …] [--] [prompt]`.
function M.generate(given)
  local asked, row = arguments(given), nil
  if not asked then
    return nil
  end
  if given.range > 0 then
    local selected = vim.trim(require("imgd.selection").text(given.line1, given.line2))
    asked.prompt = asked.prompt == "" and selected or selected .. ", " .. asked.prompt
    row = given.line2 - 1
  end
  if asked.prompt == "" then
    say.error({ message = "there is no prompt", hint = "`:Imgctl a red apple`, or select text and type `:Imgctl`" })
    return nil
  end
  return start(asked, mark_here(row), {})
end

--- The picture that the link under the cursor leads to, absolute, and its row; nil with a message where there is none.
local function picture_here()
  local row, column = mark.cursor()
  local path = link.at(vim.api.nvim_get_current_line(), column + 1)
  if not path then
    say.error({ message = "there is no link to a picture in this line", hint = "put the cursor on one" })
    return nil
  end
  path = paths.absolute(path, paths.of_buffer(0))
  if vim.fn.filereadable(path) == 0 then
    say.error(("the link leads to `%s`, which cannot be read"):format(path))
    return nil
  end
  return path, row
end

--- `:ImgctlVary [option=value …] [--] [prompt]`: begins from the picture; without a prompt, with the picture's own.
function M.vary(given)
  local asked = arguments(given)
  local path, row = picture_here()
  if not asked or not path then
    return nil
  end
  if asked.prompt == "" then
    asked.prompt = require("imgd.picture").prompt(path) or ""
  end
  local flags = { "--init-image=" .. path }
  if not asked.given.strength then
    table.insert(flags, "--strength=" .. config.values.variation_strength)
  end
  return start(asked, mark_here(row), flags)
end

--- `:ImgctlEdit [option=value …] [--] words`: has the model look at the picture; one that cannot begins from it.
function M.edit(given)
  local asked = arguments(given)
  if asked and asked.prompt == "" then
    say.error({ message = "there is no prompt", hint = "say what to change: `:ImgctlEdit make it night`" })
    return nil
  end
  local path, row = picture_here()
  if not asked or not path then
    return nil
  end
  local here = mark_here(row)
  local function begin_from_it()
    return start(asked, here, { "--init-image=" .. path })
  end
  if asked.given.strength or asked.given.mask or asked.given.extend then
    return begin_from_it()
  end
  return start(asked, here, { "--ref-image=" .. path }, function(problem)
    if problem.field ~= "ref_images" then
      return false
    end
    say.note("this model looks at no pictures, so that it begins from this one; `strength=0.5` keeps more of it")
    return begin_from_it() ~= nil
  end)
end

--- `:ImgctlCancel[!]`.
function M.cancel(given)
  if drawings.cancel(given.bang) == 0 then
    say.note("nothing is being drawn")
  end
end

--- `:ImgctlGallery`.
function M.gallery()
  require("imgd.gallery").open()
end

--- What `imgctl status` says, in one line.
local function in_words(status)
  local models = {}
  for _, model in ipairs(status.models) do
    models[#models + 1] = ("%s on %s"):format(model.name, model.device)
  end
  return ("%s: %d running, %d waiting, %d pictures kept; %s"):format(
    status.version,
    status.queue.running,
    status.queue.waiting,
    status.library.images,
    #models > 0 and table.concat(models, ", ") or "no model loaded"
  )
end

--- `:ImgctlStatus`.
function M.status()
  local text
  local id, failure = program.start({
    args = { "status" },
    on_event = function(event)
      text = in_words(event)
    end,
    on_end = function(problem)
      if problem then
        say.error(problem)
      else
        say.note(text)
      end
    end,
  })
  if not id then
    say.error(failure)
  end
end

return M
