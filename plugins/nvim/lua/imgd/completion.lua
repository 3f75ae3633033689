--- Completion of `:Imgctl model=… steps=…`.
local options = require("imgd.options")
local program = require("imgd.program")
local M = {}

--- A list is asked for again after so long, in milliseconds.
local FRESH_MS = 30000
--- Completion waits this long for imgctl, in milliseconds.
local PATIENCE_MS = 2000

local kept = {}

--- The names that a command of imgctl lists as objects of one event.
local function names(args, event)
  local key = table.concat(args, " ") .. event
  local now = vim.loop.now()
  if not kept[key] or now - kept[key].at > FRESH_MS then
    local found = {}
    for _, object in ipairs(program.run(args, PATIENCE_MS) or {}) do
      if object.event == event then
        found[#found + 1] = object.name
        vim.list_extend(found, object.aliases or {})
      end
    end
    kept[key] = { at = now, names = found }
  end
  return kept[key].names
end

local VALUES = {
  model = function()
    return names({ "models" }, "model")
  end,
  sampler = function()
    return names({ "samplers" }, "sampler")
  end,
  schedule = function()
    return names({ "samplers" }, "schedule")
  end,
  size = function()
    return { "256x256", "512x512", "768x768", "1024x1024", "1024x768", "768x1024" }
  end,
  format = function()
    return { "png", "jpeg", "webp" }
  end,
  priority = function()
    return { "interactive", "batch", "background" }
  end,
  precision = function()
    return { "auto", "f32", "bf16" }
  end,
  prompt_syntax = function()
    return { "a1111", "plain" }
  end,
}

local function values(name, begun)
  local option = options.known[name]
  if not option then
    return {}
  elseif VALUES[name] then
    return VALUES[name]()
  elseif option.file then
    return vim.fn.getcompletion(begun, "file")
  end
  return option.switch and { "yes" } or {}
end

--- What may stand where the cursor is: options before a prompt and their values; nothing within a prompt.
function M.complete(word, line, cursor)
  local before = line:sub(1, cursor - #word)
  -- Behind the command, everything before the word has to be an option.
  for other in before:gsub("^.-%u%a+!?%s*", "", 1):gmatch("%S+") do
    if not other:match("^%l[%l_-]*=") then
      return {}
    end
  end
  local found = {}
  local name, begun = word:match("^(%l[%l_-]*)=(.*)$")
  if name then
    for _, value in ipairs(values((name:gsub("-", "_")), begun)) do
      if value:sub(1, #begun) == begun then
        found[#found + 1] = name .. "=" .. value
      end
    end
    return found
  end
  for _, known in ipairs(options.names()) do
    if known:sub(1, #word) == word then
      found[#found + 1] = known .. "="
    end
  end
  return found
end

return M
